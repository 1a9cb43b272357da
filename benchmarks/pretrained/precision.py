"""Compares the estimated precision of a probe's kept labels with the true one.

  python -m benchmarks.pretrained.precision --data=surfaces --draws=20 \
      --features=onnx:lite0/features.onnx --output=runs/precision

The labeled and the unlabeled images of a data set, whose classes are all known, pass
through the network once. In each of `--draws` some of them are labeled: a probe learns
from these, its out-of-fold predictions give the lowest threshold that reaches the
target, and the estimate; all others give the truth.
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stage import artifact, cli
from stage.flags import CommandFlags

if TYPE_CHECKING:
    from classifier.probing.embeddings import LabeledEmbeddings

FLAGS = CommandFlags()
_OUTPUT = FLAGS.output("Directory of the images.")
_DATA = FLAGS.string("data", "surfaces", "surfaces or photographs.")
_FEATURES = FLAGS.string(
    "features", None, "Source of features, see teacher.probe.", required=True
)
_LABELS_PER_CLASS = FLAGS.integer(
    "labels_per_class", 20, "Number of labels of each class.", lower_bound=2
)
_DRAWS = FLAGS.integer("draws", 20, "Number of choices of labels.", lower_bound=1)
_SEED = FLAGS.seed("the images", lower_bound=0)
_TARGET = FLAGS.number("target", 0.97, "Share of kept labels that should be right.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawPrecision:
    """The labels that a probe keeps.

    Attributes:
        estimate: Share of right ones among labeled images that it would keep.
        truth: Share of right ones.
        kept: Share of the images whose labels are kept.
        covered: Whether the 95 % interval of the estimate has the truth.
    """

    estimate: float
    truth: float
    kept: float
    covered: bool


def main(argv: Sequence[str]) -> None:
    """Prints the mean figures of the draws."""
    with cli.exit_on_job_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from benchmarks.methods import draws
        from classifier.data import inspection
        from classifier.data.sources import open_source
        from classifier.features.opening import open_features
        from classifier.probing.embeddings import embed

        artifact.check_directory(_OUTPUT.value)
        draw = draws.prepare(
            _DATA.value,
            pathlib.Path(_OUTPUT.value).absolute(),
            labels_per_class=_LABELS_PER_CLASS.value,
            seed=_SEED.value,
        )
        source = inspection.inspect(open_source(draw.truth or draw.labeled))
        images = embed(source, open_features(_FEATURES.value).load())
        found = [
            estimate(
                choose(images, _LABELS_PER_CLASS.value, seed), images, _TARGET.value
            )
            for seed in range(1, _DRAWS.value + 1)
        ]
        cli.log(describe(found))


def choose(images: LabeledEmbeddings, per_class: int, seed: int) -> NDArray[np.int64]:
    """Returns the rows of images that are labeled, so many of each class."""
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(np.flatnonzero(images.labels == label), per_class, replace=False)
        for label in np.unique(images.labels)
    ]
    return np.concatenate(rows)


def estimate(
    rows: NDArray[np.int64], images: LabeledEmbeddings, target: float
) -> DrawPrecision:
    """Returns what a probe of some rows keeps of all others.

    Raises:
        ValueError: If no threshold reaches the target.
    """
    from classifier.inference import calibration
    from classifier.inference.probabilities import softmax
    from classifier.probing import probe
    from classifier.probing.config import ProbeConfig
    from pseudo_label.selection import precision

    found = probe.fit(images.take(rows), ProbeConfig())
    with tempfile.TemporaryDirectory() as directory:
        config: dict[str, Any] = {
            "kind": found.kind,
            "teachers": [],
            "class_names": [],
        }
        facts = calibration.write(directory, config, found.predicted)
        calibrated = precision.read_calibration(directory)
    threshold = precision.threshold_for(calibrated, target)
    num_classes = found.head.kernel.shape[1]
    estimated = precision.precision_above(
        calibrated, np.full(num_classes, threshold, np.float32)
    )
    others = images.take(np.setdiff1d(np.arange(len(images.labels)), rows))
    logits = found.head.logits(others.embeddings)
    probabilities = softmax(logits / np.float32(facts["temperature"]))
    is_kept = probabilities.max(axis=1) >= threshold
    is_right = probabilities.argmax(axis=1) == others.labels
    truth = float(is_right[is_kept].mean())
    return DrawPrecision(
        estimate=estimated.right / estimated.images,
        truth=truth,
        kept=float(is_kept.mean()),
        covered=estimated.low <= truth <= estimated.high,
    )


def describe(draws: Sequence[DrawPrecision]) -> str:
    """Returns a line with the means."""
    estimates, truths, kept = (
        statistics.fmean(getattr(draw, name) for draw in draws)
        for name in ("estimate", "truth", "kept")
    )
    error = statistics.fmean(abs(draw.estimate - draw.truth) for draw in draws)
    return (
        f"{len(draws)} draws: {kept:.1%} of the labels kept, {estimates:.2%} of them "
        f"right as estimated, {truths:.2%} in truth, mean error {100 * error:.2f} "
        f"points; {sum(draw.covered for draw in draws)} of {len(draws)} in the interval"
    )


if __name__ == "__main__":
    cli.run(main, FLAGS)
