"""Labels with a user's model: any Beam `ModelHandler` from encoded images to logits.

A handler receives decodable images (bytes) and returns logits [K] for each, as arrays
or Beam's `PredictionResult`s. Batches are padded to the same size, so that the row of
an image does not depend on its neighbors.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler, PredictionResult
from etils import epath
from numpy.typing import NDArray

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from classifier.data.examples import Example
from classifier.data.image_header import MAX_PIXELS
from classifier.inference.ensemble import (
    BATCH_SIZE,
    Decoded,
    Predictions,
    decode_rows,
    to_predictions,
)
from classifier.inference.probabilities import softmax

#: Side of the thumbnail that an image is decoded to, in pixels.
_SIZE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelHandlerLoader:
    """Loads a handler by its name.

    Attributes:
        spec: MODULE:NAME of a ModelHandler or of a function that returns one, or
            MODULE:NAME:ARGUMENT of a function or class with one string argument.
        num_classes: K.
        max_pixels: Maximum pixels of an image to decode.
    """

    spec: str
    num_classes: int
    max_pixels: int = MAX_PIXELS

    def load(self) -> HandlerPredictor:
        """Returns the predictor; loads the model."""
        return HandlerPredictor(
            self.handler(), num_classes=self.num_classes, max_pixels=self.max_pixels
        )

    def handler(self) -> ModelHandler[bytes, Any, Any]:
        """Returns the handler without loading its model.

        Its module may be in the working directory, where it hides no other.
        """
        module_name, _, rest = self.spec.partition(":")
        name, has_argument, argument = rest.partition(":")
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        try:
            found = getattr(importlib.import_module(module_name), name)
            if not isinstance(found, ModelHandler):
                found = found(argument) if has_argument else found()
        except Exception as error:  # The user's code may raise anything.
            raise ValueError(
                f"--model_handler={self.spec}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(found, ModelHandler):
            raise ValueError(
                f"--model_handler={self.spec}: expected a Beam ModelHandler, got "
                f"{type(found).__name__}"
            )
        return found

    def fingerprint(self) -> str:
        """Returns a hash of the name and, if the argument is a file, its content."""
        self.handler()
        digest = hashlib.sha256(self.spec.encode())
        argument = ":".join(self.spec.split(":")[2:])
        if argument and epath.Path(argument).is_file():
            with epath.Path(argument).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


class HandlerPredictor:
    """Predictor of the labeling job that runs a handler of encoded images."""

    def __init__(
        self,
        handler: ModelHandler[bytes, Any, Any],
        *,
        num_classes: int,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._handler = handler
        self._model = handler.load_model()
        self._num_classes = num_classes
        self._max_pixels = max_pixels

    def decode(self, examples: Sequence[Example]) -> Decoded:
        """Returns a row for each of at most `BATCH_SIZE` images, decodable or not."""
        return decode_rows(
            examples, _thumbnails, size=_SIZE, max_pixels=self._max_pixels
        )

    def predict(self, decoded: Decoded) -> Predictions:
        """Returns a row for each image."""
        images = decoded.good_images
        logits = np.zeros((0, self._num_classes), np.float32)
        if images:
            padded = images + images[-1:] * (BATCH_SIZE - len(images))
            logits = self._logits(padded)[: len(images)]
        return to_predictions(decoded, softmax(logits))

    def _logits(self, images: list[bytes]) -> NDArray[np.float32]:
        results = list(self._handler.run_inference(images, self._model))
        rows = [
            result.inference if isinstance(result, PredictionResult) else result
            for result in results
        ]
        shapes = {np.shape(row) for row in rows}
        if len(rows) != len(images) or shapes != {(self._num_classes,)}:
            raise ValueError(
                f"expected {len(images)} rows of {self._num_classes} logits from "
                f"{type(self._handler).__name__}, got {len(rows)} of shape "
                f"{', '.join(map(str, sorted(shapes)))}"
            )
        return np.stack(rows).astype(np.float32)


@functools.cache
def _thumbnail_function() -> Any:
    thumbnails = functools.partial(
        preprocessing.evaluation_images, config=ImageConfig(size=_SIZE)
    )
    return tf.function(thumbnails, input_signature=[tf.TensorSpec([None], tf.string)])


def _thumbnails(encoded: Sequence[bytes]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = _thumbnail_function()(
        tf.constant(list(encoded), tf.string)
    ).numpy()
    return pixels
