"""Compares a probe of pretrained features and its student with others, on real chains.

  python -m examples.pretrained.prepare --output=lite0
  python -m benchmarks.pretrained --output=runs/pretrained --data=surfaces \
      --features=onnx:lite0/features.onnx --seeds=1-5

For each draw: a teacher from scratch as `make teacher` trains it, a probe, its
pseudo-labels as `make report FEATURES=` selects them, a student from scratch, and the
control, which computes as much as the probe, the labeling and the student. Images of a
draw that are tested on show nothing that others show, so none are excluded. The same
command continues after an interruption; `OUTPUT/results.jsonl` gets a line for each
draw, and what it has is not run again. Several processes can do one seed each.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stage import artifact, cli
from stage.flags import CommandFlags

if TYPE_CHECKING:
    from benchmarks.pretrained.figures import DrawFigures

FLAGS = CommandFlags()
_OUTPUT = FLAGS.output("Directory of images, classifiers and results.")
_DATA = FLAGS.string("data", "surfaces", "surfaces or photographs.")
_FEATURES = FLAGS.string(
    "features", None, "Source of features, see teacher.probe.", required=True
)
_SEEDS = FLAGS.string("seeds", "1-5", "Seeds, as in 1-10 or 1,4; or a count from 1 on.")
_SET = FLAGS.set("image.size=64, of student and control")
_WITHOUT = FLAGS.strings(
    "without", [], "A classifier not to train: teacher or control."
)
_REPORT = FLAGS.boolean("report", False, "Run nothing: describe the results.")

_LABELS_PER_CLASS = {"surfaces": 20, "photographs": 10}
#: Small networks run fastest on one thread.
_ONE_THREAD = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")
RESULTS = "results.jsonl"


def main(argv: Sequence[str]) -> None:
    """Runs the draws that have no results, and describes all."""
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    with cli.exit_on_job_error():
        cli.check_no_arguments(argv)
        if _DATA.value not in _LABELS_PER_CLASS:
            names = " or ".join(_LABELS_PER_CLASS)
            raise ValueError(f"--data: expected {names}, got {_DATA.value!r}")
        cli.load_tensorflow()
        from benchmarks.methods.runs import parse_seeds
        from benchmarks.pretrained import chain, figures

        artifact.check_directory(_OUTPUT.value)
        if unknown := set(_WITHOUT.value) - set(chain.OPTIONAL):
            names = " or ".join(chain.OPTIONAL)
            raise ValueError(f"--without: expected {names}, got {min(unknown)!r}")
        results = pathlib.Path(_OUTPUT.value) / RESULTS
        seeds, settings = parse_seeds(_SEEDS.value), tuple(_SET.value)
        found = {(f.data, f.settings, f.seed): f for f in figures.read(results)}
        keys = [(_DATA.value, settings, seed) for seed in seeds]
        for key in keys:
            if key not in found and not _REPORT.value:
                found[key] = _run(key[-1], settings)
                figures.append(results, found[key])
        for line in figures.describe([found[key] for key in keys if key in found]):
            cli.log(line)


def _run(seed: int, settings: tuple[str, ...]) -> DrawFigures:
    """Makes the artifacts of a draw and returns its figures."""
    from benchmarks.methods import draws
    from benchmarks.pretrained import chain, measuring

    directory = pathlib.Path(_OUTPUT.value).absolute()
    labels = _LABELS_PER_CLASS[_DATA.value]
    images = directory / "data"
    name = f"{_DATA.value}-{labels}-{seed}"
    draw = draws.prepare(_DATA.value, images, labels_per_class=labels, seed=seed)
    task = chain.ProbeTask(
        draw=draw,
        features=_FEATURES.value,
        seed=seed,
        workdir=directory / name,
        student=settings,
        without=frozenset(_WITHOUT.value),
    )
    chain.run(task)
    return measuring.measure(task, _DATA.value, images / name)


if __name__ == "__main__":
    cli.run(main, FLAGS)
