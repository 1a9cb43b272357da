import pytest

from benchmarks.labeling import processes
from benchmarks.labeling.task import LabelingTask, RunLog


def _fail_last(index, barrier, task, run_log):
    if index == task.processes - 1:
        raise SystemExit(3)
    barrier.wait()


def _note(index, barrier, task, run_log):
    barrier.wait()
    run_log.add_batch(float(index), 1)


@pytest.fixture
def task():
    return LabelingTask(
        way="bare", classifier="", records="", jpegs="", num_images=0, processes=2
    )


@pytest.mark.slow
def test_no_process_waits_for_one_that_failed(task, tmp_path):
    with pytest.raises(RuntimeError, match=task.way):
        processes.run_in_parallel(_fail_last, task, RunLog(str(tmp_path)))


@pytest.mark.slow
def test_all_processes_are_waited_for(task, tmp_path):
    processes.run_in_parallel(_note, task, RunLog(str(tmp_path)))
    assert len(list(tmp_path.glob("*.batches"))) == 2
