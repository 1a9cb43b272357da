"""Exported classifiers at work: encoded images to probabilities.

The only place that loads an export; labeling and evaluation of teachers share it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier import artifact, sources
from classifier.class_names import check_same_classes
from classifier.export import CLASSIFIER, EXPORT

OK = "ok"
EMPTY = "empty"
UNDECODABLE = "undecodable"

#: Images per call. Fixed, the last batch filled up: so an image's logits do not
#: depend on how many others there are.
BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What an ensemble says about some images, row by row.

    Attributes:
        status: `ok`, or why there is no prediction.
        error: The decoder's words where the status is not `ok`, else "".
        probabilities: float32 [B,K]; zeros where the status is not `ok`.
        pixels: uint8 [B,S,S,3] after evaluation preprocessing, of the first member;
            zeros where the status is not `ok`.
    """

    status: list[str]
    error: list[str]
    probabilities: NDArray[np.float32]
    pixels: NDArray[np.uint8]


class Classifier:
    """One exported classifier."""

    def __init__(self, directory: epath.PathLike) -> None:
        path = artifact.require_complete(directory, "classifier")
        self.facts = read_facts(path)
        self._signatures = tf.saved_model.load(str(path / EXPORT)).signatures

    @property
    def image(self) -> dict[str, Any]:
        """The preprocessing it was exported with."""
        return dict(self.facts["image"])

    def preprocess(self, encoded: Sequence[bytes]) -> NDArray[np.uint8]:
        """Returns pixels uint8 [B,S,S,3]; raises InvalidArgumentError on a bad one."""
        images = tf.constant(list(encoded), tf.string)
        pixels: NDArray[np.uint8] = self._signatures["preprocess"](images)[
            "pixels"
        ].numpy()
        return pixels

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns float32 [B,K] after the classifier's temperature."""
        filled = np.zeros((BATCH_SIZE, *pixels.shape[1:]), np.uint8)
        filled[: len(pixels)] = pixels
        logits = self._signatures["pixels"](tf.constant(filled))["logits"].numpy()
        return softmax(logits[: len(pixels)] / np.float32(self.facts["temperature"]))


class Ensemble:
    """Classifiers whose probabilities are averaged."""

    def __init__(self, directories: Sequence[epath.PathLike]) -> None:
        self._members = [Classifier(directory) for directory in directories]
        self.class_names = tuple(self._members[0].facts["class_names"])

    def predict(self, encoded: Sequence[bytes]) -> Predictions:
        """Returns a row for every image, decodable or not.

        Args:
            encoded: At most `BATCH_SIZE` encoded images.
        """
        first = self._members[0]
        pixels, status, error = _decode_rows(first, encoded)
        good = [i for i, row_status in enumerate(status) if row_status == OK]
        probabilities = np.zeros((len(encoded), len(self.class_names)), np.float32)
        if good:
            shared = pixels[good]
            total = np.zeros((len(good), len(self.class_names)), np.float32)
            for member in self._members:
                own = shared
                if member.image != first.image:
                    own = member.preprocess([encoded[i] for i in good])
                total += member.probabilities(own)
            probabilities[good] = total / np.float32(len(self._members))
        return Predictions(status, error, probabilities, pixels)


def evaluate(ensemble: Ensemble, source: sources.Source) -> dict[str, Any]:
    """Returns `num_examples`, `num_correct`, `num_undecodable` and `top1` in [0, 1].

    An image that cannot be decoded counts as wrong.
    """
    count = correct = undecodable = 0
    for batch in sources.read_batches(source.reader, source.files, BATCH_SIZE):
        predicted = ensemble.predict(batch["image"].tolist())
        is_ok = np.array([status == OK for status in predicted.status])
        hits = predicted.probabilities.argmax(axis=-1) == batch["label"]
        count += len(is_ok)
        correct += int((hits & is_ok).sum())
        undecodable += int((~is_ok).sum())
    return {
        "num_examples": count,
        "num_correct": correct,
        "num_undecodable": undecodable,
        "top1": correct / count,
    }


def read_facts(directory: epath.PathLike) -> dict[str, Any]:
    """Returns `classifier.json`: class names, preprocessing, figures, fingerprint."""
    path = epath.Path(directory) / CLASSIFIER
    if not path.exists():
        raise ValueError(f"{directory} is no classifier: no {CLASSIFIER} in it")
    facts: dict[str, Any] = artifact.read_json(path)
    return facts


def read_ensemble_facts(directories: Sequence[epath.PathLike]) -> list[dict[str, Any]]:
    """Returns the facts of some classifiers that can work as one.

    Raises:
        ValueError: If one is not complete, or their classes differ.
        FileNotFoundError: If one is not there.
    """
    facts = [
        read_facts(artifact.require_complete(directory, "classifier"))
        for directory in directories
    ]
    for directory, member in zip(directories, facts, strict=True):
        check_same_classes(
            facts[0]["class_names"], member["class_names"], str(directory)
        )
    return facts


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the probabilities [B,K] of logits [B,K]."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def _decode_rows(
    classifier: Classifier, encoded: Sequence[bytes]
) -> tuple[NDArray[np.uint8], list[str], list[str]]:
    status = [OK] * len(encoded)
    error = [""] * len(encoded)
    try:
        return classifier.preprocess(encoded), status, error
    except tf.errors.InvalidArgumentError:
        pass  # One of them is bad: look at each alone.
    size = classifier.image["size"]
    pixels = np.zeros((len(encoded), size, size, 3), np.uint8)
    for i, image in enumerate(encoded):
        if not image:
            status[i], error[i] = EMPTY, "no bytes"
            continue
        try:
            pixels[i] = classifier.preprocess([image])[0]
        except tf.errors.InvalidArgumentError as failure:
            status[i], error[i] = UNDECODABLE, _first_sentence(failure.message)
    return pixels, status, error


def _first_sentence(message: str) -> str:
    """Returns the decoder's own words, without the names of graph nodes around."""
    words = re.sub(r"\{\{.*?\}\}", "", message)
    return words.split("[[")[0].split("[Op:")[0].strip()
