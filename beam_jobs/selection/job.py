"""Request and inputs of a selection job, and the checks of both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil
from etils import epath

from beam_jobs.selection import dropping
from pseudo_label.predictions.prediction_set import PredictionSet, open_predictions
from pseudo_label.selection import outlook, precision, thresholds
from pseudo_label.selection.decision import SelectionConfig
from pseudo_label.selection.precision import LabeledPredictions
from pseudo_label.selection.thresholds import ThresholdConfig
from stage import artifact
from stage.calibration_files import read_temperature

#: Precision to reach with a calibration. A student learns more from few labels, mostly
#: right, than from many with more wrong ones.
DEFAULT_TARGET_PRECISION = 0.97
KEEP_DUPLICATES = -1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectionRequest:
    """Values of the flags of `beam_jobs.select_labels`, which describe them."""

    predictions: str
    calibration: str | None = None
    target_precision: float | None = None
    confidence_threshold: float | None = None
    class_thresholds: str | None = None
    adaptive: bool = False
    images_per_class: int = 0
    max_copies: int = 3
    exclude: Sequence[str] = ()
    duplicate_bits: int = 0
    duplicate_similarity: float | None = None
    what_if: bool = False

    def __post_init__(self) -> None:
        if self.target_precision is None:
            return
        if self.calibration is None:
            raise ValueError(
                "--target_precision needs --calibration, which teacher.calibrate makes"
            )
        if self.confidence_threshold is not None or self.class_thresholds is not None:
            raise ValueError(
                "expected one of --target_precision and a threshold, got both"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectionJob:
    """A selection job with inputs that belong together.

    Attributes:
        predictions: Predictions to select from.
        settings: Settings of the selection.
        excluded: Predictions of images that must not be selected, by name.
        calibration: Predictions of labeled images, to estimate the precision.
        what_if: Whether to tabulate the results of other settings.
        output: Directory of the selection.
    """

    predictions: PredictionSet
    settings: SelectionConfig
    excluded: Mapping[str, PredictionSet]
    calibration: LabeledPredictions | None
    what_if: bool
    output: str

    def __post_init__(self) -> None:
        if self.settings.duplicate_similarity is not None:
            _check_embeddings([self.predictions, *self.excluded.values()])
        for name, images in self.excluded.items():
            if not images.has_features_of(self.predictions):
                raise ValueError(
                    f"--exclude={name} was labeled by other teachers than the "
                    "predictions; label it with the same teachers, since perceptual "
                    "hashes depend on their image size"
                )

    @property
    def config(self) -> dict[str, Any]:
        """Everything that decides the content of the selection."""
        return {
            "settings": self.settings.to_json(),
            "predictions": self.predictions.fingerprint,
            "excluded": {
                name: images.fingerprint for name, images in self.excluded.items()
            },
            "calibration": self.calibration and self.calibration.fingerprint,
            "what_if": self.what_if,
        }

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the config, which the files repeat."""
        return artifact.config_fingerprint(self.config)

    @property
    def drops(self) -> bool:
        """Whether images may be dropped as leaked or duplicate."""
        settings = self.settings
        rules = (settings.duplicate_bits, settings.duplicate_similarity)
        return bool(self.excluded) or rules != (None, None)


def plan(request: SelectionRequest, *, output: str) -> SelectionJob:
    """Returns the job, after checking its inputs."""
    predictions = open_predictions(request.predictions)
    calibration = _open_calibration(request.calibration, predictions)
    bits = request.duplicate_bits
    settings = SelectionConfig(
        thresholds=_plan_thresholds(request, predictions, calibration),
        images_per_class=request.images_per_class or predictions.even_share,
        max_copies=request.max_copies,
        duplicate_bits=None if bits == KEEP_DUPLICATES else bits,
        duplicate_similarity=request.duplicate_similarity,
    )
    return SelectionJob(
        predictions=predictions,
        settings=settings,
        excluded=_open_excluded(request.exclude),
        calibration=calibration,
        what_if=request.what_if,
        output=output,
    )


def warn(job: SelectionJob, *, is_local: bool) -> Iterator[str]:
    """Yields warnings for the user; `is_local` for a job on Beam's local runner."""
    config = job.settings.thresholds
    # Of blended predictions there is no calibration; the outlook judges them.
    if (
        job.calibration is None
        and config.rule == thresholds.FIXED
        and outlook.read_agreement(job.predictions.directory) is None
    ):
        yield (
            f"the threshold of {config.values[0]:g} is a guess: how many of the labels "
            "above it are right is not known; give a --calibration, the output of "
            "teacher.calibrate, to measure it"
        )
    if not job.excluded:
        yield (
            "the selection may contain images to evaluate on; give --exclude, "
            "predictions of them, to keep them out"
        )
    num_images = job.predictions.num_images
    bits = job.settings.duplicate_bits
    if is_local and bits is not None:
        yield from _warn_of_memory(
            num_images * dropping.LOCAL_BYTES[bits],
            f"comparing {num_images:,} images by perceptual hash",
            "--duplicate_bits=-1",
        )
    if is_local and job.settings.duplicate_similarity is not None:
        image_bytes = dropping.local_embedded_bytes(job.predictions.embedding_size)
        yield from _warn_of_memory(
            num_images * image_bytes,
            f"comparing {num_images:,} images by their embeddings",
            "no --duplicate_similarity",
        )


def _warn_of_memory(needed: int, what: str, instead: str) -> Iterator[str]:
    """Yields a warning if less memory is free than is needed."""
    free = psutil.virtual_memory().available
    if needed > free:
        yield (
            f"{what} takes about {needed / 1e9:.0f} GB of memory, but "
            f"{free / 1e9:.0f} GB are free; use another --runner or {instead}"
        )


def _check_embeddings(sets: Sequence[PredictionSet]) -> None:
    """Raises ValueError unless embeddings are stored in all sets."""
    for images in sets:
        if not images.embedding_size:
            raise ValueError(
                f"{images.directory} has no embeddings, which --duplicate_similarity "
                "needs; label the images, and those of --exclude, with label_images "
                "--embeddings"
            )
        if images.embedding_size != sets[0].embedding_size:
            raise ValueError(
                f"{images.directory}: expected embeddings of "
                f"{sets[0].embedding_size} features, got {images.embedding_size}"
            )


def _open_calibration(
    directory: str | None, predictions: PredictionSet
) -> LabeledPredictions | None:
    if directory is None:
        return None
    if outlook.read_agreement(predictions.directory) is not None:
        raise ValueError(
            f"{predictions.directory} holds blended predictions, and a calibration is "
            "of a teacher's own confidences; give --confidence_threshold and no "
            "--calibration, or the predictions before propagate_labels"
        )
    temperature = read_temperature(directory, teachers=predictions.teachers)
    if temperature != predictions.temperature:
        raise ValueError(
            f"the images were labeled at temperature {predictions.temperature}, the "
            f"calibration is at {temperature}; give label_images the same --calibration"
        )
    return precision.read_calibration(directory)


def _plan_thresholds(
    request: SelectionRequest,
    predictions: PredictionSet,
    calibration: LabeledPredictions | None,
) -> ThresholdConfig:
    threshold, target = request.confidence_threshold, None
    if request.class_thresholds is not None:
        rule = thresholds.PER_CLASS
        values = thresholds.read_class_thresholds(
            request.class_thresholds, predictions.class_names, default=threshold
        )
    elif calibration is None or threshold is not None:
        rule = thresholds.FIXED
        values = (thresholds.DEFAULT_THRESHOLD if threshold is None else threshold,)
    else:
        rule = thresholds.TARGET_PRECISION
        target = request.target_precision
        if target is None:
            target = DEFAULT_TARGET_PRECISION
        thresholds.check_share("target_precision", target)
        values = (precision.threshold_for(calibration, target),)
    return ThresholdConfig(
        rule=rule, values=values, target=target, adaptive=request.adaptive
    )


def _open_excluded(directories: Sequence[str]) -> dict[str, PredictionSet]:
    """Returns the excluded sets by name: the last two parts of their paths."""
    excluded = {}
    for directory in directories:
        path = epath.Path(directory)
        name = f"{path.parent.name}/{path.name}".lstrip("/")
        if name in excluded:
            raise ValueError(f"--exclude: two sets are called {name}")
        excluded[name] = open_predictions(directory)
    return excluded
