"""Processes that label side by side and begin at the same time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import connection

from benchmarks.labeling.task import LabelingTask, RunLog


def run_in_parallel(
    label: Callable[..., None], task: LabelingTask, run_log: RunLog
) -> None:
    """Runs `label(index, barrier, task, run_log)` in each of the task's processes.

    `barrier` is to be awaited before the first image.

    Raises:
        RuntimeError: If a process fails.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(task.processes, timeout=600)
    processes = [
        context.Process(target=label, args=(index, barrier, task, run_log))
        for index in range(task.processes)
    ]
    for process in processes:
        process.start()
    while running := [process for process in processes if process.is_alive()]:
        connection.wait([process.sentinel for process in running])
        if any(process.exitcode for process in processes):
            barrier.abort()  # Releases the others.
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{task.way}: a process failed")
