"""Measures whether labels are spread exactly, and how long it takes.

  python -m benchmarks.propagation
  python -m benchmarks.propagation --sizes=1000000

Images are drawn from 20 Gaussian clusters of features per class, which extend in 12
directions and touch each other; a teacher names the right class of three quarters. The
job, `beam_jobs.propagate_labels` on the local runner with all cores, spreads the labels
of `--labeled` images, without the teacher's share:

* exactness: the probabilities that it gives to `--exactness_images` in one graph,
  against those of a program in NumPy that shares no code with it, in float64.
* cells: the top classes of `--agreement_images` in cells, against those of one graph.
* sizes: seconds, and peak memory of all processes, of the whole command for each of
  `--sizes`; the accuracy of its labels, and the share of the images that they reached.

10 million images of 64 features are 3 GB, made in three minutes; `--data_dir` keeps
them. A check whose number of images is 0 is left out. The last line is all figures as
JSON.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np

from benchmarks.measuring.counts import parse_counts
from benchmarks.measuring.goals import as_json, log_tables
from benchmarks.measuring.turns import Figures, Rounds, format_row
from benchmarks.propagation import brute_force, goals, runs
from benchmarks.propagation.inputs import FeatureSpace, PropagationInputs, open_inputs
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.propagation.spreading import SpreadingConfig
from stage import artifact, cli
from stage.flags import CommandFlags, FlagGroup

FLAGS = CommandFlags()
_SIZES = FLAGS.string(
    "sizes", "1000000,10000000", "Numbers of images, separated by commas."
)
_EXACTNESS = FLAGS.integer(
    "exactness_images", 20_000, "Number of images to compute twice.", lower_bound=0
)
_AGREEMENT = FLAGS.integer(
    "agreement_images",
    200_000,
    "Number of images to divide into cells and not to divide; 0, or 4 or more.",
    lower_bound=0,
)
_SPACE = FlagGroup(
    features=FLAGS.integer(
        "features", FeatureSpace.features, "Number of features.", lower_bound=1
    ),
    classes=FLAGS.integer(
        "classes", FeatureSpace.classes, "Number of classes.", lower_bound=2
    ),
    labeled=FLAGS.integer(
        "labeled", FeatureSpace.labeled, "Number of labeled images.", lower_bound=1
    ),
    seed=FLAGS.seed("the images", lower_bound=0),
)
_DATA_DIR = FLAGS.string(
    "data_dir", None, "Directory that keeps the predictions; not kept if not given."
)
#: Fewest images to divide: a quarter of them, the limit of one graph, is 1 or more.
_MIN_AGREEMENT = 4


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        sizes = parse_counts("--sizes", _SIZES.value)
        space = FeatureSpace(**_SPACE.arguments())
        _check_agreement(_AGREEMENT.value)
        artifact.check_directory(_DATA_DIR.value or ".")
    with tempfile.TemporaryDirectory() as temporary:
        # The job runs in the repository's root, wherever this command does.
        directory = pathlib.Path(_DATA_DIR.value or temporary).absolute()
        checked: dict[str, float] = {}
        if _EXACTNESS.value:
            checked.update(_check_exactness(directory, space, _EXACTNESS.value))
        if _AGREEMENT.value:
            checked.update(_check_cells(directory, space, _AGREEMENT.value))
        turns = {size: [_measure(directory, space, size)] for size in sizes}
    rounds = Rounds({f"{size:,} images": turns[size] for size in sizes})
    largest = turns[max(sizes)][0]
    checked |= {name: largest[name] for name in ("seconds", "peak_gb")}
    verdicts = goals.verdicts(checked, images=max(sizes))
    cli.log("")
    log_tables(rounds, verdicts)
    figures = {size: _rounded(turns[size][0]) for size in sizes}
    settings = dataclasses.asdict(space)
    cli.log(json.dumps({**settings, **as_json(verdicts), "sizes": figures}))


def _check_agreement(images: int) -> None:
    """Raises ValueError if there are images, but too few for cells."""
    if 0 < images < _MIN_AGREEMENT:
        raise ValueError(
            f"--agreement_images: expected 0, or {_MIN_AGREEMENT} or more, got {images}"
        )


def _check_exactness(
    directory: pathlib.Path, space: FeatureSpace, images: int
) -> dict[str, float]:
    """Returns how near the job's probabilities are to those of brute force."""
    inputs = open_inputs(directory, space, images=images)
    paths = (inputs.labeled, inputs.predictions)
    labeled, corpus = (open_predictions(str(path)) for path in paths)
    with runs.propagated(inputs, exact_images=images + space.labeled) as run:
        found = runs.read_distributions(run.output)
    given = runs.read_truth(labeled)
    config = SpreadingConfig()
    expected = brute_force.spread(
        np.concatenate([runs.read_features(each) for each in (labeled, corpus)]),
        np.concatenate([given, np.full(images, -1, np.int32)]),
        space.classes,
        neighbors=config.neighbors,
        alpha=config.alpha,
    )[len(given) :]
    is_reached = expected.any(axis=1)
    expected[~is_reached] = runs.read_distributions(corpus)[~is_reached]
    figures = {
        "same_class": float(np.mean(found.argmax(axis=1) == expected.argmax(axis=1))),
        "difference_millionths": 1e6 * float(np.abs(found - expected).max()),
    }
    cli.log(format_row(f"exactness, {images:,} images", figures))
    return figures


def _check_cells(
    directory: pathlib.Path, space: FeatureSpace, images: int
) -> dict[str, float]:
    """Returns how often images get the same class in cells as in one graph."""
    inputs = open_inputs(directory, space, images=images)
    with (
        runs.propagated(inputs, exact_images=images + space.labeled) as exact,
        runs.propagated(inputs, exact_images=images // 4) as cells,
    ):
        found = [
            _describe(f"{name}, {images:,} images", inputs, run)
            for name, run in (("one graph", exact), ("cells", cells))
        ]
        same = runs.share_of_same_labels(exact.output, cells.output)
    loss = found[0]["accuracy"] - found[1]["accuracy"]
    return {"cells_same_class": same, "cells_accuracy_loss": loss}


def _measure(directory: pathlib.Path, space: FeatureSpace, images: int) -> Figures:
    inputs = open_inputs(directory, space, images=images)
    with runs.propagated(inputs) as run:
        return _describe(f"{images:,} images", inputs, run)


def _describe(name: str, inputs: PropagationInputs, run: runs.SpreadRun) -> Figures:
    """Prints and returns the figures of a run."""
    figures = {**run.figures, **runs.compare_with_truth(inputs, run.output)}
    cli.log(format_row(name, figures))
    return figures


def _rounded(figures: Figures) -> dict[str, float]:
    return {name: round(figure, 3) for name, figure in figures.items()}


if __name__ == "__main__":
    cli.run(main, FLAGS)
