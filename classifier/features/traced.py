"""Features of a function of TensorFlow's, traced from what somebody else has made.

A classifier with these features has no `model.keras`: function and head are traced into
the SavedModel in `export/`, whose signatures are those of every classifier.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from etils import epath

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from classifier.export import saved_model
from classifier.export.facts import (
    CLASSIFIER,
    EXPORT,
    SAVED_MODEL,
    ClassifierFacts,
    Evaluation,
    features_fingerprint,
    fingerprint,
)
from classifier.export.head import MIN_LENGTH, Head, write_head
from classifier.features.source import BATCH_SIZE, Extractor, check_head
from classifier.inference.conversion import compare, sample_pixels
from classifier.inference.engine import REFERENCE, NetworkLoader, with_fixed_batch
from classifier.models.embedding import EMBEDDING, LOGITS
from stage import artifact
from stage.system import num_cores


@dataclasses.dataclass(frozen=True, eq=False)
class TracedFeatures:
    """Features of a function of TensorFlow's, see `source.FeatureSource`.

    Attributes:
        spec: What the user calls the source, for messages.
        embed: Function from pixels uint8 [B,S,S,3] to embeddings float32 [B,D], tensors
            both.
        image: Evaluation preprocessing.
        origin: What the features are of, for `config.json`.
        content: What determines them beside weights and preprocessing.
        known_fingerprint: Fingerprint of the features, if they already have one.
    """

    spec: str
    embed: Callable[[Any], Any]
    image: ImageConfig
    origin: dict[str, Any]
    content: bytes = b""
    known_fingerprint: str | None = None
    settings: ClassVar[dict[str, Any]] = {}  # All is in the graph.

    @functools.cached_property
    def size(self) -> int:
        """Number of features D."""
        return int(self._function.structured_outputs.shape[-1])

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of weights, settings and preprocessing."""
        if self.known_fingerprint is not None:
            return self.known_fingerprint
        weights = (np.asarray(v).tobytes() for v in self._function.variables)
        return features_fingerprint(self.image, [self.content, *weights])

    @functools.cached_property
    def _function(self) -> Any:
        side = self.image.size
        spec = tf.TensorSpec([None, side, side, 3], tf.uint8, name="pixels")
        return tf.function(self.embed).get_concrete_function(spec)

    def load(self, threads: int | None = None) -> Extractor:
        """Returns the network on TensorFlow, which has threads of its own."""
        del threads
        embed = self._function
        run = with_fixed_batch(
            lambda pixels: [embed(tf.constant(pixels)).numpy()], BATCH_SIZE
        )
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
        """Writes a classifier with a head on these features.

        The multiply-adds of the function are not counted.
        """
        del num_embedded
        check_head(head, self.size, class_names)
        path = epath.Path(directory)
        weights = self._save(head, path / EXPORT)
        saved_model.check_signatures(path / EXPORT, len(class_names))
        pixels = sample_pixels(self.image.size)
        loader = NetworkLoader(path / EXPORT)
        network = loader.load(REFERENCE, batch_size=BATCH_SIZE, threads=num_cores())
        agreement = compare(head.logits(self.load()(pixels)), network(pixels))
        if not agreement.is_close:
            raise ValueError(f"{self.spec}: with its head it differs: {agreement}")
        facts = {
            "fingerprint": fingerprint(self.image, class_names, weights),
            "class_names": class_names,
            "image": dataclasses.asdict(self.image),
            "temperature": 1.0,
            "features": self.fingerprint,
            "head": write_head(path, head),
            "network": SAVED_MODEL,
            "evaluation": evaluation.to_json(),
        }
        artifact.write_json(path / CLASSIFIER, facts)

    def _save(self, head: Head, path: epath.Path) -> list[Any]:
        """Writes the SavedModel; returns its weights in order."""
        kernel, bias = tf.Variable(head.kernel), tf.Variable(head.bias)

        def run_network(pixels: Any) -> dict[str, Any]:
            embedding = self._function(pixels)
            features = _normalize(embedding) if head.normalize else embedding
            return {LOGITS: features @ kernel + bias, EMBEDDING: embedding}

        def preprocess(encoded: Any) -> dict[str, Any]:
            return {"pixels": preprocessing.evaluation_images(encoded, self.image)}

        def serve(encoded: Any) -> dict[str, Any]:
            return {LOGITS: run_network(**preprocess(encoded))[LOGITS]}

        side = self.image.size
        encoded = tf.TensorSpec([None], tf.string, name="encoded")
        pixels = tf.TensorSpec([None, side, side, 3], tf.uint8, name="pixels")
        signatures = {
            "serving_default": tf.function(serve, input_signature=[encoded]),
            "preprocess": tf.function(preprocess, input_signature=[encoded]),
            "pixels": tf.function(run_network, input_signature=[pixels]),
        }
        root = tf.__internal__.tracking.AutoTrackable()
        # By this name `saved_model` finds the weights again.
        root.variables = [*self._function.variables, kernel, bias]
        weights = [np.asarray(variable) for variable in root.variables]
        with saved_model.writing(path):
            tf.saved_model.save(root, str(path), signatures=signatures)
        return weights


def _normalize(embedding: Any) -> Any:
    length = tf.sqrt(tf.reduce_sum(tf.square(embedding), axis=1, keepdims=True))
    return embedding / tf.maximum(length, MIN_LENGTH)


def open_classifier(
    spec: str, facts: ClassifierFacts, image: ImageConfig
) -> TracedFeatures:
    """Returns the features of a classifier of this kind.

    The preprocessing may be another than the classifier's, but for the size.
    """
    if image.size != facts.image.size:
        raise ValueError(
            f"{spec}: the network takes images of {facts.image.size} pixels, got "
            f"image.size={image.size}"
        )
    loaded = saved_model.load(epath.Path(spec) / EXPORT)

    def embed(pixels: Any) -> Any:
        return loaded.signatures["pixels"](pixels=pixels)[EMBEDDING]

    return TracedFeatures(
        spec=spec,
        embed=embed,
        image=image,
        origin={"classifier": facts.fingerprint},
        content=str(facts.features).encode(),
        known_fingerprint=facts.features if image == facts.image else None,
    )
