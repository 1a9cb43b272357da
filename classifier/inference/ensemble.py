"""Exported classifiers at work: encoded images to probabilities.

What labeling, evaluation and prediction share.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier.data.image_header import FORMATS, claimed_pixels
from classifier.export import saved_model
from classifier.export.facts import EXPORT, read_facts
from classifier.inference.engine import REFERENCE, Engine, NetworkLoader
from stage import artifact
from stage.system import num_cores

OK = "ok"
EMPTY = "empty"
UNDECODABLE = "undecodable"
TOO_LARGE = "too_large"
NOT_FINITE = "not_finite"
#: Pixels of the largest image that is decoded, 300 MB of them; a few kilobytes can
#: claim to be billions.
MAX_PIXELS = 100_000_000
#: Images that are read, decoded and predicted together.
BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Some images made ready for a network, row by row.

    Attributes:
        encoded: The bytes they were.
        pixels: uint8 [B,S,S,3] after evaluation preprocessing; zeros where the status
            is not `ok`.
        status: `ok`, or why there are no pixels.
        error: The decoder's words where the status is not `ok`, else "".
    """

    encoded: Sequence[bytes]
    pixels: NDArray[np.uint8]
    status: list[str]
    error: list[str]

    @property
    def good(self) -> list[int]:
        """The rows that have pixels."""
        return [row for row, status in enumerate(self.status) if status == OK]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What an ensemble says about some images, row by row.

    Attributes:
        status: `ok`, or why there is no prediction.
        error: In words where the status is not `ok`, else "".
        probabilities: float32 [B,K]; zeros where the status is not `ok`.
        pixels: uint8 [B,S,S,3] after evaluation preprocessing, of the first member;
            zeros where the image could not be decoded.
    """

    status: list[str]
    error: list[str]
    probabilities: NDArray[np.float32]
    pixels: NDArray[np.uint8]


class Classifier:
    """One exported classifier.

    Args:
        directory: Where it is, complete.
        engine: What runs its network.
        threads: That the network may use.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        engine: Engine = REFERENCE,
        threads: int | None = None,
    ) -> None:
        path = artifact.require_complete(directory, "classifier")
        self.facts = read_facts(path)
        self._preprocess = saved_model.load_preprocess(path / EXPORT)
        self.loader = NetworkLoader(path / EXPORT)
        self._network = self.loader.load(
            engine, batch_size=BATCH_SIZE, threads=threads or num_cores()
        )

    @property
    def image(self) -> dict[str, Any]:
        """The preprocessing it was exported with."""
        return dict(self.facts["image"])

    def preprocess(self, encoded: Sequence[bytes]) -> NDArray[np.uint8]:
        """Returns pixels uint8 [B,S,S,3]; raises InvalidArgumentError on a bad one."""
        images = tf.constant(list(encoded), tf.string)
        pixels: NDArray[np.uint8] = self._preprocess(images).numpy()
        return pixels

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns float32 [B,K]."""
        return self._network(pixels)

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns float32 [B,K] after the classifier's temperature."""
        return softmax(self.logits(pixels) / np.float32(self.facts["temperature"]))


class Ensemble:
    """Classifiers whose probabilities are averaged.

    Args:
        directories: Of its members.
        engine: What runs their networks.
        threads: That a network may use.
        max_pixels: Of an image that is decoded.
        temperature: That all members' logits are divided by; None for their own.
    """

    def __init__(
        self,
        directories: Sequence[epath.PathLike],
        engine: Engine = REFERENCE,
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
        temperature: float | None = None,
    ) -> None:
        self._members = [
            Classifier(directory, engine, threads) for directory in directories
        ]
        self._max_pixels = max_pixels
        self._temperatures = [
            member.facts["temperature"] if temperature is None else temperature
            for member in self._members
        ]
        self.class_names = tuple(self._members[0].facts["class_names"])

    def warm_up(self) -> None:
        """Predicts a blank image: an engine's first call takes a third of a second.

        What cannot run at all fails here, before any image is read.
        """
        blank = tf.io.encode_jpeg(np.zeros((1, 1, 3), np.uint8)).numpy()
        self.predict(self.decode([blank]))

    def decode(self, encoded: Sequence[bytes]) -> Decoded:
        """Returns a row for every image, decodable or not; at most `BATCH_SIZE`."""
        first = self._members[0]
        return decode_rows(
            encoded,
            first.preprocess,
            size=first.image["size"],
            max_pixels=self._max_pixels,
        )

    def predict(self, decoded: Decoded) -> Predictions:
        """Returns a row for every image."""
        probabilities = mean_probabilities(self.logits(decoded), self._temperatures)
        return to_predictions(decoded, probabilities)

    def logits(self, decoded: Decoded) -> NDArray[np.float32]:
        """Returns float32 [M,G,K]: M members on the G images that could be decoded."""
        first, good = self._members[0], decoded.good
        shape = (len(self._members), len(good), len(self.class_names))
        logits = np.zeros(shape, np.float32)
        shared = decoded.pixels if len(good) == BATCH_SIZE else decoded.pixels[good]
        if good:
            for index, member in enumerate(self._members):
                own = shared
                if member.image != first.image:
                    own = member.preprocess([decoded.encoded[i] for i in good])
                logits[index] = member.logits(own)
        return logits


def decode_rows(
    encoded: Sequence[bytes],
    preprocess: Callable[[Sequence[bytes]], NDArray[np.uint8]],
    *,
    size: int,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Returns a row for every image, decodable or not.

    Args:
        encoded: Images, at least one.
        preprocess: From images to uint8 [B,S,S,3]; raises InvalidArgumentError if one
            of them is bad.
        size: S.
        max_pixels: Of an image that is decoded; a larger one is refused by what its
            header says.
    """
    status, error = [OK] * len(encoded), [""] * len(encoded)
    for row, image in enumerate(encoded):
        status[row], error[row] = _look_at_header(image, max_pixels)
    if status.count(OK) == len(status):
        try:
            return Decoded(encoded, preprocess(encoded), status, error)
        except tf.errors.InvalidArgumentError:
            pass  # One of them is bad: look at each alone.
    pixels = np.zeros((len(encoded), size, size, 3), np.uint8)
    for row, image in enumerate(encoded):
        if status[row] == OK:
            try:
                pixels[row] = preprocess([image])[0]
            except tf.errors.InvalidArgumentError as failure:
                status[row] = UNDECODABLE
                error[row] = _first_sentence(failure.message)
    return Decoded(encoded, pixels, status, error)


def _look_at_header(encoded: bytes, max_pixels: int) -> tuple[str, str]:
    if not encoded:
        return EMPTY, "no bytes"
    pixels = claimed_pixels(encoded)
    if pixels is None:
        formats = ", ".join(FORMATS[:-1])
        return UNDECODABLE, f"no header of a {formats} or {FORMATS[-1]} image"
    if pixels > max_pixels:
        return TOO_LARGE, f"{pixels:,} pixels, expected at most {max_pixels:,}"
    return OK, ""


def to_predictions(decoded: Decoded, probabilities: NDArray[np.float32]) -> Predictions:
    """Returns predictions with a row for every image.

    Args:
        decoded: The images.
        probabilities: float32 [G,K] of those that could be decoded, in order. A row
            that is not finite becomes a row with a reason.
    """
    good = np.array(decoded.good, int)
    status, error = list(decoded.status), list(decoded.error)
    is_finite = np.isfinite(probabilities).all(axis=1)
    for row in good[~is_finite]:
        status[row], error[row] = NOT_FINITE, "the network's output is not finite"
    every = np.zeros((len(status), probabilities.shape[1]), np.float32)
    every[good[is_finite]] = probabilities[is_finite]
    return Predictions(status, error, every, decoded.pixels)


def mean_probabilities(
    logits: NDArray[np.float32], temperatures: Sequence[float]
) -> NDArray[np.float32]:
    """Returns the mean float32 [B,K] of M members' probabilities.

    Args:
        logits: float32 [M,B,K] of the members.
        temperatures: [M] that their logits are divided by.
    """
    total = np.zeros(logits.shape[1:], np.float32)
    for member, temperature in zip(logits, temperatures, strict=True):
        total += softmax(member / np.float32(temperature))
    return total / np.float32(len(logits))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the probabilities [B,K] of logits [B,K]; NaN where one is not finite."""
    with np.errstate(invalid="ignore"):  # What is not finite stays so.
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def _first_sentence(message: str) -> str:
    """Returns the decoder's own words, without the names of graph nodes around."""
    words = re.sub(r"\{\{.*?\}\}", "", message)
    return words.split("[[")[0].split("[Op:")[0].strip()
