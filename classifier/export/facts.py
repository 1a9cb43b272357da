"""`classifier.json`: the metadata of an exported classifier.

Imports neither Keras nor TensorFlow, so that reading it is cheap.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from etils import epath
from numpy.typing import NDArray

from classifier.data.config import ImageConfig
from stage import artifact, typed_json
from stage.calibration_files import read_temperature
from stage.text import printable
from stage.typed_json import ClassName, Count, Positive

EXPORT = "export"
CLASSIFIER = "classifier.json"
MODEL = "model.keras"
#: Directory of a probe's calibration in its own.
OWN_CALIBRATION = "calibration"
#: Number of the fields of `ImageConfig` that every fingerprint names.
_NUM_FIRST = 4
#: Kinds of networks: built by this project; traced into the SavedModel from somebody
#: else's; an ONNX file; none, as a head alone is no more than relabeling needs.
KERAS, SAVED_MODEL, ONNX, NO_NETWORK = "keras", "saved_model", "onnx", "none"
#: Settings of an image that evaluation does not use.
_TRAINING_ONLY = ("min_crop_area", "random_flip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Accuracy of the averaged network on labeled images.

    Attributes:
        num_examples: Number of evaluated images.
        num_correct: Number of images whose highest logit is that of their label.
        cross_entropy: Mean over the images, in nats.
    """

    num_examples: Count
    num_correct: Count
    cross_entropy: float

    @property
    def top1(self) -> float:
        """Share of correct images in [0, 1]."""
        return self.num_correct / self.num_examples

    def to_json(self) -> dict[str, Any]:
        """Returns the entry `evaluation` of `classifier.json`."""
        return {**dataclasses.asdict(self), "top1": self.top1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The fold of the labeled images that a classifier was not trained on.

    Attributes:
        folds: Number of folds.
        fold: Index of this one.
        labeled: Description of all labeled images.
    """

    folds: Count
    fold: Count
    labeled: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """Multiply-adds of a classifier, positive.

    Attributes:
        image: Those of the forward pass of one image.
        training: Those of its training, some 10^20 for a published one.
    """

    image: float
    training: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFacts:
    """What other stages read of `classifier.json`.

    Attributes:
        fingerprint: SHA-256 of weights, class names and preprocessing.
        class_names: K names by label.
        image: Evaluation preprocessing, as in the exported graph; the default without a
            network.
        temperature: Temperature of the classifier, when there is no calibration.
        left_out: Fold of the labeled images not learned from; None if all were used.
        image_multiply_adds: Multiply-adds of the forward pass of one image, see
            `classifier.models.flops`; None if they were not counted.
        multiply_adds: Those of the training; None if they were not counted.
        features: SHA-256 of what determines the embedding of an encoded image; None if
            there is no embedding, or in classifiers of earlier versions.
        head: Fingerprint of `head.safetensors`; None if there is none.
        network: Kind of the network.
    """

    fingerprint: str
    class_names: tuple[ClassName, ...]
    image: ImageConfig = ImageConfig()
    temperature: Positive = 1.0
    left_out: LeftOut | None = None
    image_multiply_adds: Positive | None = None
    multiply_adds: Positive | None = None
    features: str | None = None
    head: str | None = None
    network: Literal["keras", "saved_model", "onnx", "none"] = "keras"

    @property
    def is_uncounted(self) -> bool:
        """Whether the cost of its features could not be counted."""
        return self.features is not None and self.image_multiply_adds is None

    def require_network(self, directory: epath.PathLike) -> None:
        """Raises ValueError if the classifier in a directory is a head alone."""
        if self.network == NO_NETWORK:
            raise ValueError(
                f"{directory} is a head without its network, for beam_jobs.relabel: "
                "make it in another directory with teacher.probe --backbone=, which "
                "adds the network"
            )

    def check_fingerprint(
        self, weights: Iterable[NDArray[Any]], path: epath.PathLike
    ) -> None:
        """Raises ValueError unless the weights at `path` are those of these facts."""
        found = fingerprint(self.image, self.class_names, weights)
        if found != self.fingerprint:
            raise ValueError(
                f"{path}: not the weights, class names or preprocessing that "
                f"{CLASSIFIER} names: expected {printable(self.fingerprint)[:12]}, "
                f"got {found[:12]}; restore the files of this classifier"
            )


def fingerprint(
    image: ImageConfig, class_names: Sequence[str], weights: Iterable[NDArray[Any]]
) -> str:
    """Returns the SHA-256 that identifies a classifier.

    The weights are in the order of `keras.Model.get_weights`.
    """
    head = repr((_identify(image), tuple(class_names))).encode()
    arrays = (array.tobytes() for array in weights)
    return artifact.fingerprint(itertools.chain([head], arrays))


def _identify(image: ImageConfig) -> tuple[Any, ...]:
    """Returns the settings, without later fields where these have their defaults.

    Fingerprints of classifiers that are older than a field stay what they were.
    """
    first, later = dataclasses.astuple(image)[:_NUM_FIRST], []
    for field in dataclasses.fields(image)[_NUM_FIRST:]:
        value = getattr(image, field.name)
        if value != field.default:
            later.append((field.name, value))
    return (*first, *later)


def features_fingerprint(image: ImageConfig, content: Iterable[bytes]) -> str:
    """Returns the SHA-256 that identifies what makes embeddings of encoded images.

    The content determines the embedding of pixels. Two classifiers that differ in their
    last layer only have the same.
    """
    settings = dataclasses.asdict(image)
    evaluated = {k: v for k, v in settings.items() if k not in _TRAINING_ONLY}
    return artifact.fingerprint(
        itertools.chain([json.dumps(evaluated, sort_keys=True).encode()], content)
    )


def read_facts(directory: epath.PathLike) -> ClassifierFacts:
    """Returns `classifier.json`; raises ValueError if it is missing or broken."""
    path = epath.Path(directory) / CLASSIFIER
    if not path.exists():
        raise ValueError(
            f"{directory}: expected an exported classifier, found no {CLASSIFIER}"
        )
    return typed_json.read(path, ClassifierFacts)


def own_temperature(directory: epath.PathLike, facts: ClassifierFacts) -> float:
    """Returns the temperature of the confidences of a classifier with these facts.

    It is that of the calibration in its directory, such as a probe has, or that of
    `classifier.json` if there is none, or one of an ensemble.

    Raises:
        ValueError: If a file is broken.
    """
    path, teachers = epath.Path(directory) / OWN_CALIBRATION, [facts.fingerprint]
    if not artifact.is_complete(path):
        return facts.temperature
    if artifact.read_config(path).get("teachers") != teachers:
        return facts.temperature
    return read_temperature(path, teachers=teachers)
