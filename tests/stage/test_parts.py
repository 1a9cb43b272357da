"""Parts of a stage: which units are theirs, and whom each keeps out."""

import errno
import fcntl
import itertools
import os

import pytest

from stage import artifact, parts
from stage.parts import WHOLE, HeldError, Part


@pytest.mark.parametrize(("units", "count"), [(0, 2), (1, 3), (7, 3), (9, 3), (5, 1)])
def test_every_unit_is_one_parts(units, count):
    taken = [list(Part(index, count).take(units)) for index in range(count)]
    assert sorted(itertools.chain(*taken)) == list(range(units))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_a_part_is_read_from_its_flag():
    assert parts.parse("3/8") == Part(3, 8)
    assert str(Part(3, 8)) == "3/8"
    assert parts.parse(None) == parts.parse("0/1") == WHOLE


@pytest.mark.parametrize(
    "text", ["8/8", "0/0", "1", "-1/2", "1/2/3", "a/b", "1 / 2", ""]
)
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ValueError, match=r"--shards: expected I/N"):
        parts.parse(text)


def refused(path, part):
    with pytest.raises(HeldError, match=r"wait until it ends") as error:
        artifact.locked(path, part).__enter__()
    return str(error.value)


def test_parts_run_side_by_side_but_each_only_once(tmp_path):
    with artifact.locked(tmp_path, Part(0, 2)), artifact.locked(tmp_path, Part(1, 2)):
        assert f"part 0/2 of {tmp_path}" in refused(tmp_path, Part(0, 2))
    with artifact.locked(tmp_path, Part(0, 2)):
        pass


def test_a_whole_run_and_parts_keep_each_other_out(tmp_path):
    with artifact.locked(tmp_path, Part(0, 2)):
        assert str(tmp_path) in refused(tmp_path, WHOLE)
    with artifact.locked(tmp_path, WHOLE):
        assert str(tmp_path) in refused(tmp_path, Part(0, 2))


def test_parts_of_two_divisions_keep_each_other_out(tmp_path):
    with artifact.locked(tmp_path, Part(1, 2)):
        assert ".part-1-of-2.lock" in refused(tmp_path, Part(0, 3))
    with artifact.locked(tmp_path, Part(0, 3)):  # What an ended one has left is free.
        pass


def test_a_whole_run_sees_the_file_of_a_part_on_another_machine(tmp_path):
    """There, the directory is locked for that machine alone."""
    path = tmp_path / Part(1, 2).lock_name
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert str(path) in refused(tmp_path, WHOLE)


def test_a_file_system_without_locks_is_worked_on_without(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    with artifact.locked(tmp_path, Part(0, 2)) as is_locked:
        assert is_locked
    monkeypatch.setattr(parts.fcntl, "flock", flock)
    for part in (WHOLE, Part(0, 2)):
        with artifact.locked(tmp_path, part) as is_locked:
            assert not is_locked
