import os
import subprocess
import sys

import pytest

from stage import system
from stage.system import is_within, num_cores, read_in_parallel


def test_cores_are_those_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert num_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert num_cores() == len(before)


def test_without_affinity_all_cores_of_the_machine_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert num_cores() == 1
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert num_cores() == 7


def test_a_folder_holds_what_lies_in_it_after_links(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert is_within(tmp_path / "link" / "new", tmp_path / "data")
    assert is_within(tmp_path / "data", tmp_path / "link")
    assert not is_within(tmp_path / "data_labeled", tmp_path / "data")
    assert not is_within(tmp_path / "data" / ".." / "other", tmp_path / "data")


def test_files_are_read_in_order_and_an_error_ends_the_reading():
    count = 3 * system._QUEUED_READS
    found = read_in_parallel(lambda number: -number, iter(range(count)))
    assert found == [-number for number in range(count)]
    done = []

    def fail(number):
        done.append(number)
        raise ValueError(number)

    with pytest.raises(ValueError, match=r"^0$"):
        read_in_parallel(fail, range(count))
    assert len(done) <= system._QUEUED_READS


def test_children_are_ended():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    system.kill_children()
    assert child.wait(10) != 0
