"""What every source of features can do."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from classifier.export.facts import Evaluation
from classifier.export.head import Head
from classifier.inference.conversion import compare, sample_pixels
from stage import licenses

#: Images that an extractor computes at once, the last ones padded with zeros.
BATCH_SIZE = 32
#: Largest difference of an image's features beside other images, relative to the
#: largest feature: float16 rounds to a thousandth.
_ROW_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A loaded network, from encoded images to embeddings.

    Attributes:
        image: Evaluation preprocessing.
        network: Function from pixels uint8 [B,S,S,3] to embeddings float32 [B,D]; rows
            do not depend on their neighbors.
    """

    image: ImageConfig
    network: Callable[[NDArray[np.uint8]], NDArray[np.float32]]

    def preprocess(self, encoded: Sequence[bytes]) -> NDArray[np.uint8]:
        """Returns pixels uint8 [B,S,S,3].

        Raises InvalidArgumentError if an image cannot be decoded.
        """
        return _preprocessing(self.image)(tf.constant(list(encoded), tf.string)).numpy()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns embeddings float32 [B,D] of any number of images."""
        return self.network(pixels)


class FeatureSource(Protocol):
    """A frozen network whose embeddings a head can be put on."""

    @property
    def spec(self) -> str:
        """What the user calls the source."""

    @property
    def image(self) -> ImageConfig:
        """Evaluation preprocessing."""

    @property
    def origin(self) -> dict[str, Any]:
        """Description of the weights' source."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings, besides preprocessing, that the network is rebuilt from."""

    @property
    def size(self) -> int:
        """Number of features D."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what determines the embedding of an encoded image.

        It is `features` in the `classifier.json` of what `export` writes.
        """

    def load(self, threads: int | None = None) -> Extractor:
        """Returns the network, to compute with some threads, None for all cores."""

    def export(
        self,
        head: Head,
        directory: epath.PathLike,
        *,
        class_names: tuple[str, ...],
        evaluation: Evaluation,
        num_embedded: int = 0,
    ) -> None:
        """Writes a classifier: these features, and a head on them.

        Args:
            head: Head of these D features and of K classes.
            directory: Directory that has a `config.json` with what `describe` returns.
            class_names: K names by label.
            evaluation: Figures to store in `classifier.json`.
            num_embedded: Images that the head was fitted to: their embedding is the
                computation of the training.

        Raises:
            OSError: If a file cannot be written.
            ValueError: If the head does not fit, or what is written gives others than
                the source's embeddings.
        """


def describe(source: FeatureSource) -> dict[str, Any]:
    """Returns entries of the `config.json` of a classifier with these features.

    `features` says what they are, `config` what the network is rebuilt from.
    """
    return {
        "features": {
            "fingerprint": source.fingerprint,
            "size": source.size,
            "origin": licenses.describe(source.origin),
        },
        "config": {**source.settings, "image": dataclasses.asdict(source.image)},
    }


def check_rows(source: FeatureSource) -> None:
    """Raises ValueError if embeddings depend on chance or on other images of a batch.

    So do those of a network that was exported as it is trained: with noise, or with the
    statistics of a batch. Those that are not finite are refused as well.
    """
    pixels = sample_pixels(source.image.size)[-2:]
    network = source.load()
    together = network(pixels)
    if not np.isfinite(together).all():
        raise ValueError(f"{source.spec}: features of an image are not finite")
    agreement = compare(together[:1], network(pixels[:1]))
    if not agreement.difference <= _ROW_TOLERANCE * agreement.scale:
        raise ValueError(
            f"{source.spec}: features of an image depend on chance or on other images, "
            f"by {agreement.difference:.2g} of {agreement.scale:.2g}: expected a "
            "network as it is used, without noise, and with stored statistics of its "
            "batch-norm"
        )


def check_head(head: Head, size: int, class_names: Sequence[str]) -> None:
    """Raises ValueError unless a head is for D features and the classes."""
    if head.kernel.shape != (size, len(class_names)):
        raise ValueError(
            f"expected a head of {size} features and {len(class_names)} classes, got "
            f"{head.kernel.shape}"
        )


@functools.lru_cache(maxsize=8)
def _preprocessing(image: ImageConfig) -> Any:
    """Returns the preprocessing compiled: string [B] to uint8 [B,S,S,3]."""
    return tf.function(
        lambda encoded: preprocessing.evaluation_images(encoded, image),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
