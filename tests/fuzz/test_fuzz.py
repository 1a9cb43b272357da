"""A few inputs of every target; the fuzzing finds planted faults of a reader."""

import contextlib
import dataclasses
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

from classifier.data import python_reader
from stage.status import OK
from tests import commands
from tests.commands import ROOT
from tests.fuzz import harness, mutations, records, targets
from tests.fuzz.harness import Result, Target

NUMBERS = range(200)


@pytest.fixture(scope="module")
def by_name(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    targets.prepare(root)
    return {target.name: target for target in targets.make(root)}


@pytest.mark.parametrize("name", [t.name for t in targets.make(pathlib.Path())])
def test_nothing_is_lost_or_wrong_unsaid(by_name, name):
    target = by_name[name]
    result = harness.run(target, 0, numbers=range(target.quick))
    assert not result.faults, "\n".join(f.text for f in result.faults.values())
    assert result.read > 0


def planted(check, *, path=""):
    """A target of which every input is read by `check`."""
    return Target("planted", list, lambda random, _: random.randbytes(9), check, path)


def find_kinds(target, numbers=NUMBERS):
    return list(harness.run(target, 1, numbers=numbers).faults)


@pytest.fixture
def record_files(tmp_path):
    plain, *_ = records.targets(tmp_path)
    return plain


def test_inputs_depend_on_seed_and_number_alone(record_files):
    inputs = [record_files.input(1, number) for number in range(20)]
    assert inputs == [record_files.input(1, number) for number in range(20)]
    assert len(set(inputs)) > 10
    assert inputs[-1] != record_files.input(2, 19)
    assert inputs[:3] == list(record_files.seeds())


def test_changes_of_json_are_mostly_json():
    rng, seed = random.Random(0), b'{"a": [1, {"b": null}], "c": "x"}'
    changed = {mutations.change_json(rng, [seed]) for _ in range(200)}
    assert len(changed) > 100


def drop_second(rows):
    return rows[:1] + rows[2:]


def swap_images(rows):
    """Gives the second row the first one's image."""
    return [dataclasses.replace(row, image=rows[0].image) for row in rows[:2]] + rows[
        2:
    ]


def leave_out_reasons(rows):
    return [row for row in rows if row.status == OK]


@pytest.mark.parametrize("spoil", [drop_second, swap_images, leave_out_reasons])
def test_a_reader_that_loses_records_is_found(record_files, monkeypatch, spoil):
    read = python_reader.read_records
    monkeypatch.setattr(
        python_reader, "read_records", lambda *file: spoil(list(read(*file)))
    )
    kinds = find_kinds(record_files)
    assert any("AssertionError" in kind for kind in kinds), kinds


def test_other_exceptions_than_refusals_are_found():
    def check(content):
        raise KeyError(content[0])

    (kind,) = find_kinds(planted(check, path="x/config.json"))
    assert "KeyError" in kind
    assert "test_fuzz.py:check" in kind


@pytest.mark.parametrize(
    ("message", "is_refusal"),
    [
        ("x/config.json is broken", True),
        ("is broken", False),
        ("x/config.json\nis broken", False),
        ("config.json" * 1_000, False),
    ],
)
def test_a_refusal_is_one_line_with_the_path(message, is_refusal):
    def check(content):
        raise ValueError(message)

    target = planted(check, path="x/config.json")
    result = harness.run(target, 1, numbers=NUMBERS)
    assert result.refused == (len(NUMBERS) if is_refusal else 0)
    assert result.tried == len(NUMBERS)


def test_undamaged_inputs_are_not_refused():
    def check(content):
        raise ValueError("x/config.json is broken")

    target = dataclasses.replace(
        planted(check, path="x/config.json"), seeds=lambda: [b""]
    )
    (kind,) = find_kinds(target)
    assert "undamaged" in kind


def test_files_of_images_are_never_refused():
    def check(content):
        raise ValueError("planted is broken")

    assert find_kinds(planted(check))


def test_a_reader_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 0.01)

    def check(content):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(10)

    (kind,) = find_kinds(planted(check), range(1))
    assert "TooSlowError" in kind


def test_a_reader_that_takes_memory_is_found(monkeypatch):
    (kind,) = find_kinds(planted(lambda content: bytes(2**40)), range(1))
    assert "MemoryError" in kind
    monkeypatch.setattr(harness, "MEMORY", -1)
    (kind,) = find_kinds(planted(len), range(1))
    assert "TooMuchError" in kind


def test_an_input_that_ends_the_process_is_named():
    """In a process without threads, which may fork."""
    program = """
import os
from tests.fuzz import harness

def check(content):
    if content[0] % 16 == 0:
        os.abort()

make = lambda random, seeds: random.randbytes(9)
target = harness.Target("planted", list, make, check)
result = harness.run_guarded(target, 1, seconds=0.5)
((_, fault),) = result.faults.items()
assert target.input(1, fault.number)[0] % 16 == 0, fault
assert result.counts[fault.kind] > 1
print(fault.kind)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-6" in ended.stdout


def test_the_command_tries_the_targets_that_are_named():
    arguments = ("--target=thresholds.json", "--seconds=1")
    last = commands.run("tests.fuzz", *arguments).splitlines()[-1]
    assert " inputs of 1 targets, 0 kinds of faults" in last


def test_results_of_several_processes_are_added():
    total = Result()
    for number in (3, 5):
        part = Result(read=2, refused=1)
        part.add(harness.Fault(number, "kind", ""))
        total.merge(part)
    assert (total.tried, total.counts["kind"]) == (8, 2)
    assert total.faults["kind"].number == 3
