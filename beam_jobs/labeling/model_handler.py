"""A model of one's own: any Beam `ModelHandler`, from encoded images to logits.

A handler gets encoded images (bytes) and gives logits, [K] for each, as arrays or as
Beam's `PredictionResult`s. What cannot be decoded never reaches it. A batch is always
filled up to the same size, so an image's row does not depend on its neighbors.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler, PredictionResult
from etils import epath
from numpy.typing import NDArray

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from classifier.inference.ensemble import (
    BATCH_SIZE,
    MAX_PIXELS,
    Decoded,
    Predictions,
    decode_rows,
    softmax,
    to_predictions,
)

#: Of the small copy that an image is checked and compared by.
_SIZE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelHandlerLoader:
    """Loads a handler by its name.

    Attributes:
        spec: MODULE:NAME, a ModelHandler or a function without arguments that returns
            one; or MODULE:NAME:ARGUMENT, a function or class of one string.
        num_classes: K.
        max_pixels: Of an image that is decoded.
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
        """Returns the handler, its model not loaded.

        Raises:
            ValueError: If the name is none of a ModelHandler.
        """
        module_name, _, rest = self.spec.partition(":")
        name, has_argument, argument = rest.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), name)
            if not isinstance(found, ModelHandler):
                found = found(argument) if has_argument else found()
        except Exception as error:  # Whatever the user's own code raises.
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
        """Returns what identifies the model: its name, and its file if it has one.

        Raises:
            ValueError: As `handler` does.
        """
        self.handler()
        digest = hashlib.sha256(self.spec.encode())
        argument = ":".join(self.spec.split(":")[2:])
        if argument and epath.Path(argument).is_file():
            with epath.Path(argument).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()


class HandlerPredictor:
    """A handler at work, as the labeling job wants it.

    Args:
        handler: Of encoded images.
        num_classes: K.
        max_pixels: Of an image that is decoded.
    """

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

    def decode(self, encoded: Sequence[bytes]) -> Decoded:
        """Returns a row for every image, decodable or not; at most `BATCH_SIZE`."""
        return decode_rows(
            encoded, _thumbnails, size=_SIZE, max_pixels=self._max_pixels
        )

    def predict(self, decoded: Decoded) -> Predictions:
        """Returns a row for every image.

        Raises:
            ValueError: If the handler gives other than K numbers for each image.
        """
        images = [decoded.encoded[row] for row in decoded.good]
        logits = np.zeros((0, self._num_classes), np.float32)
        if images:
            filled = images + images[-1:] * (BATCH_SIZE - len(images))
            logits = self._logits(filled)[: len(images)]
        return to_predictions(decoded, softmax(logits))

    def _logits(self, images: list[bytes]) -> NDArray[np.float32]:
        results = list(self._handler.run_inference(images, self._model))
        rows = [
            one.inference if isinstance(one, PredictionResult) else one
            for one in results
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
