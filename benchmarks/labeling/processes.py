"""Processes that label side by side and begin at the same time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import connection

from benchmarks.labeling.task import LabelingTask, Timesheet

#: Seconds that a process waits at the barrier for the others.
PATIENCE = 600


def run_together(
    label: Callable[..., None], task: LabelingTask, sheet: Timesheet
) -> None:
    """Runs `label(index, barrier, task, sheet)` in each of the task's processes.

    `barrier` is to be awaited before the first image.

    Raises:
        RuntimeError: If a process fails.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(task.processes, timeout=PATIENCE)
    processes = [
        context.Process(target=label, args=(index, barrier, task, sheet))
        for index in range(task.processes)
    ]
    for process in processes:
        process.start()
    running = processes
    while running:
        connection.wait([process.sentinel for process in running])
        running = [process for process in processes if process.is_alive()]
        if any(process.exitcode for process in processes):
            barrier.abort()  # Releases the others.
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{task.way}: a process failed")
