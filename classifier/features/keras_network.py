"""Features of a network that this project builds: ResNet-RS and `keras.applications`.

A classifier with these features is an ordinary one: the same network, whose last layer
has the head's weights. It can be trained further (`--init_from`) and exported.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier.data.config import ImageConfig
from classifier.export.facts import Compute, Evaluation, features_fingerprint
from classifier.export.head import Head
from classifier.export.saved_classifier import export_classifier
from classifier.features.source import BATCH_SIZE, Extractor, check_head
from classifier.inference.engine import with_fixed_batch
from classifier.models import flops
from classifier.models.config import ModelConfig
from classifier.models.embedding import (
    EMBEDDING,
    embedding_content,
    embedding_weights,
    head_weights,
    set_head,
    with_embedding,
)
from classifier.models.factory import build_network


@dataclasses.dataclass(frozen=True, eq=False)
class KerasFeatures:
    """Features of a Keras network, see `source.FeatureSource`.

    Attributes:
        spec: What the user calls the source, for messages.
        model: Settings that the network was built from.
        network: Network from pixels to logits of any classes, with its weights.
        image: Evaluation preprocessing.
        origin: Description of the weights' source, for `config.json`.
    """

    spec: str
    model: ModelConfig
    network: keras.Model
    image: ImageConfig
    origin: dict[str, Any]

    def __post_init__(self) -> None:
        if head_weights(self.network) is None:
            raise ValueError(
                f"{self.spec}: {self.network.name} has no pooled features before its "
                "last layer; choose another network"
            )

    @property
    def size(self) -> int:
        """Number of features D."""
        return int(with_embedding(self.network).output[EMBEDDING].shape[-1])

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights, scaling and preprocessing."""
        return features_fingerprint(self.image, embedding_content(self.network))

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that the network is rebuilt from."""
        return {"model": dataclasses.asdict(self.model)}

    def load(self, threads: int | None = None) -> Extractor:
        """Returns the network on TensorFlow, which has threads of its own."""
        del threads
        outputs = with_embedding(self.network)
        side = self.image.size

        embed = tf.function(
            lambda pixels: outputs(pixels, training=False)[EMBEDDING],
            input_signature=[tf.TensorSpec([None, side, side, 3], tf.uint8)],
        )
        run = with_fixed_batch(lambda pixels: [embed(pixels).numpy()], BATCH_SIZE)
        return Extractor(self.image, lambda pixels: run(pixels)[0])

    def export(
        self,
        head: Head,
        directory: epath.PathLike,
        *,
        class_names: tuple[str, ...],
        evaluation: Evaluation,
        num_embedded: int = 0,
    ) -> None:
        """Writes a classifier with a head on these features."""
        check_head(head, self.size, class_names)
        if head.normalize:
            raise ValueError(
                f"{self.spec}: expected a head on raw embeddings; a layer that "
                "normalizes them is added to ONNX, SavedModel and KerasHub only"
            )
        network = self._with_head(head.kernel, head.bias)
        export_classifier(
            network,
            directory,
            image=self.image,
            class_names=class_names,
            evaluation=evaluation,
            compute=_count(network, num_embedded),
        )

    def _with_head(
        self, kernel: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> keras.Model:
        """Returns the network with another last layer."""
        network = build_network(
            self.model, image_size=self.image.size, num_classes=len(bias)
        )
        pairs = zip(
            embedding_weights(network), embedding_weights(self.network), strict=True
        )
        for mine, theirs in pairs:
            mine.assign(theirs)
        set_head(network, kernel, bias)
        return network


def _count(network: keras.Model, num_embedded: int) -> Compute | None:
    """Returns the multiply-adds; None if the network's cannot be counted."""
    try:
        of_image = float(flops.count_multiply_adds(network))
    except ValueError:
        return None
    return Compute(image=of_image, training=of_image * max(1, num_embedded))
