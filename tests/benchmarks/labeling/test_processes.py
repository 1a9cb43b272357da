import pytest

from benchmarks.labeling import processes
from benchmarks.labeling.task import LabelingTask, Timesheet


def _fail_last(index, barrier, task, sheet):
    if index == task.processes - 1:
        raise SystemExit(3)
    barrier.wait()


def _note(index, barrier, task, sheet):
    barrier.wait()
    sheet.note_batch(float(index), 1)


@pytest.fixture
def task():
    return LabelingTask(
        way="bare", classifier="", records="", jpegs="", num_images=0, processes=2
    )


@pytest.mark.slow
def test_no_process_waits_for_one_that_failed(task, tmp_path):
    with pytest.raises(RuntimeError, match=task.way):
        processes.run_together(_fail_last, task, Timesheet(str(tmp_path)))


@pytest.mark.slow
def test_all_processes_are_waited_for(task, tmp_path):
    processes.run_together(_note, task, Timesheet(str(tmp_path)))
    assert len(list(tmp_path.glob("*.batches"))) == 2
