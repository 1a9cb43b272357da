"""The demo: the chain on handwritten digits, most of them without their labels."""

from __future__ import annotations

import os
from collections.abc import Sequence

from workflow.chain.progress import Log
from workflow.commands import running
from workflow.commands.running import Options
from workflow.run_file.config import RunConfig
from workflow.run_file.reading import RUN_FILE, read_run

#: Settings of the demo. The same engine labels on every machine, so that the results
#: are the same; different scans of 8x8 pixels can have the same hash.
SETTINGS = (
    "data.digits.labels_per_class=5",
    "teacher.preset=tiny",
    "labeling.engine=tensorflow",
    "labeling.dtype=float32",
    "selection.duplicate_bits=-1",
    "runner.jobs=0",
)


def run(
    output: str,
    assignments: Sequence[str],
    options: Options,
    *,
    num_seeds: int = 1,
    log: Log,
) -> None:
    """Runs the demo with one seed or several, which are compared.

    Further settings, such as `teacher.features`, win over those of the demo, and stay
    those of the run.
    """
    if num_seeds == 1:
        running.run(_read(output, assignments), options, log)
        return
    runs = [os.path.join(output, f"seed-{seed}") for seed in range(1, num_seeds + 1)]
    for seed, directory in enumerate(runs, 1):
        config = _read(directory, [*assignments, f"rounds.seed={seed}"])
        running.run(config, options, log)
    running.summarize_seeds(runs, os.path.join(output, "summary.json"), log)


def _read(output: str, assignments: Sequence[str]) -> RunConfig:
    is_begun = os.path.exists(os.path.join(output, RUN_FILE))
    usual = () if is_begun else SETTINGS
    return read_run(None, [*usual, *assignments], output=output)
