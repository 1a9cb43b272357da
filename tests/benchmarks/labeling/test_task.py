import importlib.util

import pytest

from benchmarks.labeling import task as labeling_task
from benchmarks.labeling.task import LabelingTask, RunLog


@pytest.fixture
def task(tmp_path):
    return LabelingTask(
        way="bare",
        classifier="teacher",
        records=str(tmp_path),
        jpegs=str(tmp_path),
        num_images=5,
        processes=2,
    )


def test_a_run_log_goes_from_the_first_begin_to_the_last_end(tmp_path):
    run_log = RunLog(str(tmp_path))
    with pytest.raises(ValueError, match=str(tmp_path)):
        run_log.total()
    run_log.add_load()
    (tmp_path / "7.loads").write_text("1\n1\n")
    (tmp_path / "7.batches").write_text("[10.0, 12.0, 64]\n[12.0, 13.5, 36]\n")
    (tmp_path / "8.batches").write_text("[9.5, 13.0, 28]\n")
    assert run_log.total() == {"begin": 9.5, "images_per_second": 128 / 4.0}
    assert sorted(run_log.loads()) == [1, 2]


def test_a_batch_ends_when_it_is_noted(tmp_path):
    run_log = RunLog(str(tmp_path))
    run_log.add_batch(0.0, 10)
    total = run_log.total()
    assert total["begin"] == 0
    # Ten images since 1970.
    assert 0 < total["images_per_second"] < 1e-6


def test_files_are_in_order_and_repeated(task, tmp_path):
    for name in ("b.jpg", "a.jpg", "2.tfrecord", "1.tfrecord"):
        (tmp_path / name).touch()
    names = [path.rpartition("/")[2] for path in task.jpeg_files()]
    assert names == ["a.jpg", "b.jpg", "a.jpg", "b.jpg", "a.jpg"]
    names = [path.rpartition("/")[2] for path in task.record_files()]
    assert names == ["1.tfrecord", "2.tfrecord"]


@pytest.mark.parametrize("way", sorted(labeling_task.PEERS))
def test_every_peer_has_its_module(way):
    module, packages = labeling_task.PEERS[way]
    assert importlib.util.find_spec(f"benchmarks.labeling.{module}")
    assert packages


def test_a_peer_gets_the_task_and_returns_its_total(task, monkeypatch):
    class Peer:
        @staticmethod
        def run(given, run_log):
            assert given == task
            run_log.add_batch(1.0, 64)

    monkeypatch.setattr(labeling_task.importlib, "import_module", lambda name: Peer)
    found = labeling_task.run(vars(task))
    assert found["begin"] == 1.0
