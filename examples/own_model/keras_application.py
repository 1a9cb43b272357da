r"""Labels with a network of `keras.applications`, saved as a `.keras` file.

    network = keras.applications.MobileNetV3Small(classifier_activation=None)
    network.save("net.keras")

    python -m beam_jobs.label_images --class_names=imagenet.txt \
        --model_handler=examples.own_model.keras_application:KerasHandler:net.keras ...

Networks of the V2 and V3 families standardize pixels themselves; an older one needs its
`preprocess_input` as the first layer of the saved model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler


class KerasHandler(ModelHandler[bytes, np.ndarray, keras.Model]):
    """Runs a Keras network from pixels in 0 to 255 to logits."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def load_model(self) -> keras.Model:
        """Returns the network, once in a process."""
        return keras.saving.load_model(self._path, compile=False)

    def run_inference(
        self,
        batch: Sequence[bytes],
        model: keras.Model,
        inference_args: dict[str, Any] | None = None,
    ) -> np.ndarray:
        """Returns logits [B,K]."""
        size = model.input_shape[1:3]
        images = [_decode(encoded, size) for encoded in batch]
        return np.asarray(model(np.stack(images), training=False))


def _decode(encoded: bytes, size: tuple[int, int]) -> np.ndarray:
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.image.resize(image, size, method="bilinear").numpy()
