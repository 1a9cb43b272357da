"""Inference of exported classifiers: from encoded images to probabilities.

Shared by labeling, evaluation, calibration and prediction.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier.data import image_header
from classifier.data.examples import UNLABELED, Example
from classifier.data.image_header import MAX_PIXELS
from classifier.export import saved_model
from classifier.export.facts import EXPORT, ONNX, ClassifierFacts, read_facts
from classifier.inference.engine import REFERENCES, Engine, NetworkLoader
from classifier.inference.onnx_network import OnnxLoader
from classifier.inference.probabilities import mean_probabilities
from classifier.models.embedding import EMBEDDING, LOGITS
from stage import artifact
from stage.status import NOT_FINITE, OK, UNDECODABLE
from stage.system import num_cores

#: Images that are read, decoded and predicted together.
BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A batch of images after evaluation preprocessing.

    Attributes:
        examples: B examples, placeholders included.
        pixels: uint8 [B,S,S,3]; zeros where the status is not `ok`.
        status: [B] `ok`, or why there are no pixels.
        error: [B] reason in words where the status is not `ok`, else "".
    """

    examples: Sequence[Example]
    pixels: NDArray[np.uint8]
    status: list[str]
    error: list[str]

    @property
    def good(self) -> list[int]:
        """Rows that have pixels."""
        return [row for row, status in enumerate(self.status) if status == OK]

    @property
    def good_images(self) -> list[bytes]:
        """Encoded images of the rows that have pixels."""
        return [self.examples[row].image for row in self.good]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions of an ensemble for a batch of images.

    Attributes:
        status: [B] `ok`, or why there is no prediction.
        error: [B] reason in words where the status is not `ok`, else "".
        probabilities: float32 [B,K]; zeros where the status is not `ok`.
        embeddings: float32 [B,D]; zeros where the status is not `ok`. None unless the
            ensemble gives them.
        embedding_norms: float32 [B], lengths of the features of one member; not finite
            where they are not. None for several members, or without embeddings.
    """

    status: list[str]
    error: list[str]
    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32] | None = None
    embedding_norms: NDArray[np.float32] | None = None


class Classifier:
    """One exported classifier.

    Args:
        directory: Directory of the complete classifier.
        engine: Engine that runs the network; None for its reference.
        threads: Threads of the network; None for all cores.
        embeddings: Whether the network gives embeddings, too.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        engine: Engine | None = None,
        threads: int | None = None,
        *,
        embeddings: bool = False,
    ) -> None:
        path = artifact.require_complete(directory, "classifier")
        self.facts = read_facts(path)
        self.image = self.facts.image
        self._preprocess = saved_model.load_preprocess(path / EXPORT)
        self.reference = REFERENCES[self.facts.network]
        self.loader = open_loader(path, self.facts)
        self._network = self.loader.load_outputs(
            engine or self.reference,
            (LOGITS, EMBEDDING) if embeddings else (LOGITS,),
            batch_size=BATCH_SIZE,
            threads=threads or num_cores(),
        )

    def preprocess(self, encoded: Sequence[bytes]) -> NDArray[np.uint8]:
        """Returns pixels uint8 [B,S,S,3].

        Raises InvalidArgumentError if an image cannot be decoded.
        """
        return self._preprocess(tf.constant(list(encoded), tf.string)).numpy()

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns logits float32 [B,K] of pixels uint8 [B,S,S,3]."""
        return self._network(pixels)[0]

    def outputs(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Returns logits and, if the classifier gives them, embeddings [B,D]."""
        return self._network(pixels)


def open_loader(
    directory: epath.PathLike, facts: ClassifierFacts
) -> NetworkLoader | OnnxLoader:
    """Returns what loads a classifier's network on an engine."""
    if facts.network == ONNX:
        return OnnxLoader(directory)
    return NetworkLoader(epath.Path(directory) / EXPORT)


class Ensemble:
    """Classifiers whose probabilities are averaged.

    Args:
        directories: Directories of the members.
        engine: Engine that runs their networks; None for the reference of each.
        threads: Threads of a network; None for all cores.
        max_pixels: Maximum pixels of an image to decode.
        temperature: Temperature of all members, or one for each; None for those in
            their `classifier.json`.
        embeddings: Whether predictions have embeddings.
    """

    def __init__(
        self,
        directories: Sequence[epath.PathLike],
        engine: Engine | None = None,
        threads: int | None = None,
        max_pixels: int = MAX_PIXELS,
        temperature: float | Sequence[float] | None = None,
        *,
        embeddings: bool = False,
    ) -> None:
        self._members = [
            Classifier(directory, engine, threads, embeddings=embeddings)
            for directory in directories
        ]
        self._embeddings = embeddings
        self._max_pixels = max_pixels
        if temperature is None:
            temperature = [member.facts.temperature for member in self._members]
        self._temperatures = np.broadcast_to(temperature, len(self._members)).tolist()
        self.class_names = tuple(self._members[0].facts.class_names)

    def warm_up(self) -> None:
        """Predicts a blank image.

        An engine's first call takes a third of a second, and a network that cannot run
        fails here, before any image is read.
        """
        blank = tf.io.encode_jpeg(np.zeros((1, 1, 3), np.uint8)).numpy()
        self.predict(self.decode([Example(b"blank", blank, UNLABELED)]))

    def decode(self, examples: Sequence[Example]) -> Decoded:
        """Returns a row for each of at most `BATCH_SIZE` images, decodable or not."""
        first = self._members[0]
        return decode_rows(
            examples,
            first.preprocess,
            size=first.image.size,
            max_pixels=self._max_pixels,
        )

    def predict(self, decoded: Decoded) -> Predictions:
        """Returns a prediction for every image."""
        outputs = self._outputs(decoded)
        probabilities = mean_probabilities(self._stack(outputs), self._temperatures)
        predictions = to_predictions(decoded, probabilities)
        if not self._embeddings:
            return predictions
        features = [pair[1] for pair in outputs]
        predictions = _with_embeddings(predictions, features, decoded)
        if len(self._members) > 1:
            return predictions
        return _with_norms(predictions, features, decoded)

    def logits(self, decoded: Decoded) -> NDArray[np.float32]:
        """Returns logits float32 [M,G,K] of M members for the G decoded images."""
        return self._stack(self._outputs(decoded))

    def _outputs(self, decoded: Decoded) -> list[list[NDArray[np.float32]]]:
        """Returns the outputs of each member; none if no image was decoded."""
        first, good = self._members[0], decoded.good
        if not good:
            return []
        shared = decoded.pixels if len(good) == BATCH_SIZE else decoded.pixels[good]
        return [
            member.outputs(
                shared
                if member.image == first.image
                else member.preprocess(decoded.good_images)
            )
            for member in self._members
        ]

    def _stack(
        self, outputs: Sequence[Sequence[NDArray[np.float32]]]
    ) -> NDArray[np.float32]:
        if not outputs:
            return np.zeros((len(self._members), 0, len(self.class_names)), np.float32)
        return np.stack([of_member[0] for of_member in outputs])


def decode_rows(
    examples: Sequence[Example],
    preprocess: Callable[[Sequence[bytes]], NDArray[np.uint8]],
    *,
    size: int,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Returns a row for every image, decodable or not.

    Args:
        examples: At least one example; the status of a placeholder is kept.
        preprocess: Function from encoded images to pixels uint8 [B,S,S,3]; raises
            InvalidArgumentError if one of them cannot be decoded.
        size: Side S in pixels.
        max_pixels: Maximum pixels of an image to decode, according to its header.
    """
    images = [example.image for example in examples]
    status, error = [OK] * len(examples), [""] * len(examples)
    for row, example in enumerate(examples):
        status[row], error[row] = _check(example, max_pixels)
    if status.count(OK) == len(status):
        try:
            return Decoded(examples, preprocess(images), status, error)
        except tf.errors.InvalidArgumentError:
            pass  # One of them cannot be decoded: decode each alone.
    pixels = np.zeros((len(examples), size, size, 3), np.uint8)
    for row, image in enumerate(images):
        if status[row] == OK:
            try:
                pixels[row] = preprocess([image])[0]
            except tf.errors.InvalidArgumentError as failure:
                status[row] = UNDECODABLE
                error[row] = _decoder_message(failure.message)
    return Decoded(examples, pixels, status, error)


def _check(example: Example, max_pixels: int) -> tuple[str, str]:
    """Returns status and error of an image before it is decoded."""
    if example.status != OK:
        return example.status, example.error
    refusal = image_header.check(example.image, max_pixels)
    return refusal if refusal is not None else (OK, "")


def to_predictions(decoded: Decoded, probabilities: NDArray[np.float32]) -> Predictions:
    """Returns a prediction for every image.

    The probabilities [G,K] are of the images that could be decoded, in order; those
    that are not finite get the status `not_finite`.
    """
    good = np.array(decoded.good, int)
    status, error = list(decoded.status), list(decoded.error)
    is_finite = np.isfinite(probabilities).all(axis=1)
    for row in good[~is_finite]:
        status[row], error[row] = NOT_FINITE, "the network's output is not finite"
    all_rows = np.zeros((len(status), probabilities.shape[1]), np.float32)
    all_rows[good[is_finite]] = probabilities[is_finite]
    return Predictions(status, error, all_rows)


def _with_embeddings(
    predictions: Predictions,
    features: Sequence[NDArray[np.float32]],
    decoded: Decoded,
) -> Predictions:
    """Returns predictions with embeddings [B,D] made of the features of M members.

    Each member's features [G,D] are of the images that could be decoded. If there are
    none, D is 0.
    """
    joined = join_embeddings(features) if features else np.zeros((0, 0), np.float32)
    rows = np.zeros((len(predictions.status), joined.shape[1]), np.float32)
    rows[decoded.good] = joined
    rows[np.array(predictions.status) != OK] = 0
    rows[~np.isfinite(rows).all(axis=1)] = 0  # Without neighbors.
    return dataclasses.replace(predictions, embeddings=rows)


def _with_norms(
    predictions: Predictions,
    features: Sequence[NDArray[np.float32]],
    decoded: Decoded,
) -> Predictions:
    """Returns predictions with the lengths of the features [G,D] of one member, if any.

    Where they are not finite, the length is not either.
    """
    norms = np.zeros(len(predictions.status), np.float32)
    if features:
        norms[decoded.good] = measure_lengths(features[0])[:, 0]
    return dataclasses.replace(predictions, embedding_norms=norms)


def measure_lengths(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the lengths [B,1] of features [B,D]; not finite where they are not."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.linalg.norm(features, axis=1, keepdims=True)


def join_embeddings(features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Returns the embeddings of an ensemble from the features [B,D] of M members.

    The dot product of two embeddings is the mean cosine of the members' features.
    """
    scale = np.float32(len(features) ** -0.5)
    with np.errstate(invalid="ignore"):
        lengths = [measure_lengths(each) for each in features]
        normal = [
            each / np.where(length > 0, length, np.float32(1)) * scale
            for each, length in zip(features, lengths, strict=True)
        ]
    return np.concatenate(normal, axis=1)


def _decoder_message(message: str) -> str:
    """Returns the decoder's line, without TensorFlow's stack trace and graph nodes."""
    text = re.sub(r"\{\{.*?\}\}", "", message).split("[[")[0].split("[Op:")[0]
    return (text.strip().splitlines() or ["cannot be decoded"])[-1]
