"""Hours of one machine, by differences between looks."""

import pytest

from infra.tpu.hours import TpuHours


def count(*looks, is_own=True):
    """Returns the hours after looks at an age, after which a host has booted or not."""
    hours = TpuHours(is_own=is_own)
    for age, has_booted in looks:
        hours.look(age, has_booted=has_booted)
    return hours


@pytest.mark.parametrize("clock", [-30.0, -1.5, 0.0, 1.5, 30.0])
@pytest.mark.parametrize("creation", [0.0, 0.75, 2.0])
def test_neither_clocks_nor_creation_count(clock, creation):
    at_first = creation + clock
    hours = count((at_first, False), (at_first + 0.25, True), (at_first + 5, True))
    assert hours.on == pytest.approx(5)
    assert hours.booted == pytest.approx(4.75)
    assert not hours.is_mute


@pytest.mark.parametrize("clock", [-30.0, 0.0, 30.0])
def test_a_host_has_an_hour_from_the_first_look(clock):
    for is_own in (False, True):
        looks = [(clock, False), (clock + 0.9, False), (clock + 1.1, False)]
        assert not count(*looks[:2], is_own=is_own).is_mute
        assert count(*looks, is_own=is_own).is_mute
        assert count(*looks, is_own=is_own).booted == 0


def test_a_report_that_is_removed_has_been_there():
    assert not count((0, True), (5, False)).is_mute


@pytest.mark.parametrize(
    ("age", "on"), [(-2, 0), (0.5, 0), (1.0, 0), (1.5, 0.5), (20, 19)]
)
def test_a_machine_of_before_counts_from_an_hour_after_its_creation(age, on):
    assert count((age, True), is_own=False).booted == on
    assert count((age, True), (age + 2, True), is_own=False).booted == on + 2


def test_hours_do_not_fall_when_a_clock_is_put_back():
    assert count((1, True), (3, True), (2, True)).on == 2
