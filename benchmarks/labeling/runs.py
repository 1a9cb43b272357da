"""Runs one way to label in processes of its own."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Sequence
from typing import TypeAlias

from benchmarks.labeling.goals import OURS
from benchmarks.labeling.task import RECORDS, LabelingTask
from benchmarks.measuring import peers
from benchmarks.measuring.process_watch import resident_bytes, watch
from benchmarks.measuring.turns import Figures

#: Name and dtype of an engine; None for a peer that was not given one.
EngineName: TypeAlias = tuple[str | None, str | None]


def measure(task: LabelingTask) -> tuple[Figures, EngineName]:
    """Runs a task.

    Returns:
        images_per_second, from the start of the first image to the end of the last;
        start_seconds, from the start of the command to that of the first image;
        worker_megabytes, peak resident memory of the largest labeling process. Also the
        engine.
    """
    if task.way != OURS:
        command = peers.command("benchmarks.labeling.task", dataclasses.asdict(task))
        watched = watch(command, memory=resident_bytes)
        speed = watched.result["images_per_second"]
        start_seconds = watched.result["begin"] - watched.started
        engine, min_depth = (task.engine, task.dtype), 1
    else:
        with tempfile.TemporaryDirectory() as directory:
            output = pathlib.Path(directory) / "predictions"
            watched = watch(
                label_command(task, output),
                memory=resident_bytes,
                has_begun=lambda: any(output.glob(".predictions-*")),
            )
            completed = json.loads((output / "COMPLETED").read_text())
            config = json.loads((output / "config.json").read_text())
        speed, start_seconds = completed["images_per_second"], watched.start_seconds
        engine = config["engine"], config["dtype"]
        # The command forks the job, which starts the workers or labels itself.
        min_depth = 1 if task.processes == 1 else 2
    figures = {
        "images_per_second": speed,
        "start_seconds": start_seconds,
        "worker_megabytes": watched.largest_process(min_depth=min_depth) / 1e6,
    }
    return figures, engine


def label_command(
    task: LabelingTask, output: pathlib.Path, model: Sequence[str] = ()
) -> list[str]:
    """Returns our command line for a task.

    `model` are flags that name the model, in place of the task's classifier. One
    process per core is the default, so it is not asked for.
    """
    teacher = [f"--teacher={task.classifier}"]
    if task.engine is not None:
        teacher += [f"--engine={task.engine}", f"--dtype={task.dtype}"]
    beam = ["--", "--direct_num_workers=1", "--direct_running_mode=in_memory"]
    return [
        *(sys.executable, "-m", "beam_jobs.label_images"),
        f"--images=tfrecord:{task.records}/{RECORDS}",
        f"--output={output}",
        *(model or teacher),
        *(beam if task.processes == 1 else []),
    ]
