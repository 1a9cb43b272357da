"""Runs one way to label in processes of its own."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from benchmarks.labeling.goals import OURS
from benchmarks.labeling.task import RECORDS, LabelingTask
from benchmarks.measuring import peers
from benchmarks.measuring.process_watch import resident_bytes, watch
from benchmarks.measuring.turns import Figures

#: Name and dtype of an engine.
EngineName = tuple[str, str]


def measure(task: LabelingTask) -> tuple[Figures, EngineName | None]:
    """Runs a task.

    Returns:
        images_per_second, from the first image's begin to the last one's end;
        start_seconds, from the command's start to the first image's begin;
        worker_megabytes, peak resident memory of the largest labeling process. Of ours
        also the engine.
    """
    if task.way != OURS:
        command = peers.command("benchmarks.labeling.task", dataclasses.asdict(task))
        watched = watch(command, memory=resident_bytes)
        total = watched.result
        start = total["begin"] - watched.started
        peak = watched.largest_process(min_depth=1)
        return _figures(total["images_per_second"], start, peak), None
    with tempfile.TemporaryDirectory() as directory:
        output = pathlib.Path(directory) / "predictions"
        watched = watch(
            label_command(task, output),
            memory=resident_bytes,
            has_begun=lambda: any(output.glob(".predictions-*")),
        )
        speed = json.loads((output / "COMPLETED").read_text())["images_per_second"]
        config = json.loads((output / "config.json").read_text())
    # The command forks the job, which starts the workers or labels itself.
    peak = watched.largest_process(min_depth=1 if task.processes == 1 else 2)
    engine = config["engine"], config["dtype"]
    return _figures(speed, watched.start_seconds, peak), engine


def _figures(speed: float, start_seconds: float, peak_bytes: int) -> Figures:
    return {
        "images_per_second": speed,
        "start_seconds": start_seconds,
        "worker_megabytes": peak_bytes / 1e6,
    }


def label_command(
    task: LabelingTask, output: pathlib.Path, model: Sequence[str] = ()
) -> list[str]:
    """Returns our command line for a task.

    One process per core is the default, so it is not asked for.

    Args:
        task: Images to label, and how.
        output: Directory of the predictions.
        model: Flags that name the model, in place of the task's classifier.
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
