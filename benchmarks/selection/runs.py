"""Runs one way to select in processes of its own."""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

from benchmarks.measuring import peers
from benchmarks.measuring.process_watch import watch
from benchmarks.measuring.turns import Figures
from benchmarks.selection.task import CONFIDENCE_THRESHOLD, OURS, CutOff, SelectionTask


def measure(task: SelectionTask) -> tuple[Figures, list[CutOff]]:
    """Runs a task.

    Returns:
        seconds, from the command's start to its end; cpu_seconds and peak_gb, peak
        memory, of all its processes together. Also the cut-offs by label.
    """
    if task.way != OURS:
        watched = watch(peers.command("benchmarks.selection.task", task._asdict()))
        cut_offs = [CutOff(*row) for row in watched.result]
    else:
        with tempfile.TemporaryDirectory() as directory:
            output = pathlib.Path(directory) / "selection"
            watched = watch(select_command(task, output))
            selection = json.loads((output / "selection.json").read_text())
        cut_offs = [
            CutOff(label, rule["unique"], last["confidence"], last["key_hash"])
            for label, rule in enumerate(selection["classes"])
            if (last := rule["cut_off"]) is not None
        ]
    return watched.usage, cut_offs


def select_command(task: SelectionTask, output: pathlib.Path) -> list[str]:
    """Returns our command line, without near duplicates: no peer looks for them."""
    return [
        *(sys.executable, "-m", "beam_jobs.select_labels"),
        f"--predictions={task.predictions}",
        f"--confidence_threshold={CONFIDENCE_THRESHOLD}",
        f"--images_per_class={task.images_per_class}",
        "--max_copies=3",
        "--duplicate_bits=-1",
        f"--output={output}",
    ]
