"""Processes that label side by side and begin at the same time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

from benchmarks.labeling.task import Task, Timesheet

#: Seconds that a process waits for the others to be ready.
PATIENCE = 600

#: Its number, what to wait at before the first image, the task, and where to note.
Label = Callable[[int, Any, Task, Timesheet], None]


def run_together(label: Label, task: Task, sheet: Timesheet) -> None:
    """Runs `label` in each of the task's processes.

    Raises:
        RuntimeError: If one of them fails.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(task.processes, timeout=PATIENCE)
    processes = [
        context.Process(target=label, args=(part, barrier, task, sheet))
        for part in range(task.processes)
    ]
    for process in processes:
        process.start()
    running = processes
    while running:
        connection.wait([process.sentinel for process in running])
        running = [process for process in processes if process.is_alive()]
        if any(process.exitcode for process in processes):
            barrier.abort()  # The others wait for it.
    if any(process.exitcode for process in processes):
        raise RuntimeError(f"{task.way}: a process failed")
