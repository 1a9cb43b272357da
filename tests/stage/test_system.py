import os

from stage.system import is_within, num_cores


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
