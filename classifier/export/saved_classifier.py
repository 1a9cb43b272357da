"""A trained classifier as files: networks, `classifier.json` and `head.safetensors`.

The SavedModel has three signatures. `preprocess` turns encoded images, string [B],
into `pixels` uint8 [B,S,S,3]; `pixels` turns those into `logits` float32 [B,K] and
`embedding` float32 [B,D], the features that the last layer multiplies;
`serving_default` turns encoded images into `logits`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf
from etils import epath

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from classifier.export import saved_model
from classifier.export.facts import (
    CLASSIFIER,
    EXPORT,
    KERAS,
    MODEL,
    Compute,
    Evaluation,
    features_fingerprint,
    fingerprint,
    read_facts,
)
from classifier.export.head import Head, write_head
from classifier.models.config import ModelConfig
from classifier.models.embedding import (
    LOGITS,
    embedding_content,
    head_weights,
    with_embedding,
)
from classifier.models.factory import build_network, count_parameters
from stage import artifact, typed_json


def export_classifier(
    model: keras.Model,
    directory: epath.PathLike,
    *,
    image: ImageConfig,
    class_names: tuple[str, ...],
    evaluation: Evaluation,
    left_out: dict[str, Any] | None = None,
    compute: Compute | None = None,
) -> None:
    """Writes the files that labeling, serving and the next round need.

    Args:
        model: Network from uint8 pixels to logits, with the weights to keep.
        directory: The training run's directory.
        image: Evaluation preprocessing, traced into the graph.
        class_names: K names by label.
        evaluation: Figures to store in `classifier.json`.
        left_out: Fold of the labeled images that was excluded from training.
        compute: Its multiply-adds; None if they were not counted.

    Raises:
        OSError: If a file cannot be written.
    """
    path = epath.Path(directory)
    model.save(str(path / MODEL))
    artifact.sync(path / MODEL)
    with saved_model.writing(path / EXPORT):
        _save_signatures(model, str(path / EXPORT), image)
    head = head_weights(model)
    artifact.write_json(
        path / CLASSIFIER,
        {
            "fingerprint": fingerprint(image, class_names, model.get_weights()),
            "class_names": class_names,
            "image": dataclasses.asdict(image),
            "temperature": 1.0,
            "left_out": left_out,
            "num_parameters": count_parameters(model),
            "image_multiply_adds": compute and compute.image,
            "multiply_adds": compute and compute.training,
            "features": head and features_fingerprint(image, embedding_content(model)),
            "head": head and write_head(path, Head(*head)),
            "evaluation": evaluation.to_json(),
        },
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Network:
    """What determines a network's structure."""

    model: ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """What is read of a run's `config.json`."""

    config: _Network


def read_model_config(directory: epath.PathLike) -> ModelConfig:
    """Returns the settings that a classifier's network is built from."""
    path = epath.Path(directory) / artifact.CONFIG
    return typed_json.read(path, _Run).config.model


def rebuild_network(
    directory: epath.PathLike, *, image_size: int | None = None
) -> keras.Model:
    """Returns the network of a classifier, built anew and with the stored weights.

    Only numbers are taken from `model.keras`: the layers that it describes could be any
    that Keras knows, some of which read files. The input has the classifier's size
    unless another is given.

    Raises:
        ValueError: If a file of the classifier is broken, or of another classifier.
    """
    path = epath.Path(directory)
    facts = read_facts(path)
    facts.require_network(directory)
    if facts.network != KERAS:
        raise ValueError(
            f"{directory}: expected a network that this project builds, got one from "
            f"{facts.network}, whose layers it does not know; only its embeddings can "
            "be used, by teacher.probe"
        )
    model = build_network(
        read_model_config(path),
        image_size=image_size or facts.image.size,
        num_classes=len(facts.class_names),
    )
    try:
        model.load_weights(str(path / MODEL))
    except Exception as error:  # Broken archives and tensors raise nearly anything.
        words = typed_json.error_message(error)
        raise ValueError(f"{path / MODEL} cannot be read: {words}") from error
    facts.check_fingerprint(model.get_weights(), path / MODEL)
    return model


def load_network(path: epath.PathLike) -> keras.Model:
    """Returns the network of a `.keras` file that this program wrote.

    Keras finds our layers by the names that the imports above register, so that files
    which store a module's former path load, too.
    """
    return keras.saving.load_model(str(path), compile=False)


def _save_signatures(model: keras.Model, path: str, image: ImageConfig) -> None:
    network = with_embedding(model)

    def preprocess(encoded: Any) -> dict[str, Any]:
        return {"pixels": preprocessing.evaluation_images(encoded, image)}

    def run_network(pixels: Any) -> dict[str, Any]:
        return network(pixels, training=False)

    def serve(encoded: Any) -> dict[str, Any]:
        return {LOGITS: run_network(**preprocess(encoded))[LOGITS]}

    encoded = tf.TensorSpec([None], tf.string, name="encoded")
    pixels = tf.TensorSpec([None, image.size, image.size, 3], tf.uint8, name="pixels")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", serve, input_signature=[encoded])
    archive.add_endpoint("preprocess", preprocess, input_signature=[encoded])
    archive.add_endpoint("pixels", run_network, input_signature=[pixels])
    archive.write_out(path, verbose=False)
