"""A classifier whose network is an ONNX file.

`network.onnx` turns `pixels` uint8 [N,S,S,3] into `logits` float32 [N,K] and
`embedding` float32 [N,D]; the SavedModel in `export/` has the signature `preprocess`
only, from encoded images to pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from etils import epath

from classifier.data import preprocessing
from classifier.data.config import ImageConfig
from classifier.export import saved_model
from classifier.export.facts import (
    CLASSIFIER,
    EXPORT,
    ONNX,
    Evaluation,
    fingerprint,
)
from classifier.export.head import Head, write_head
from classifier.export.onnx_file import MAX_BYTES, NETWORK, file_weights
from stage import artifact


def export_onnx_classifier(
    model: Any,
    directory: epath.PathLike,
    *,
    head: Head,
    image: ImageConfig,
    class_names: tuple[str, ...],
    evaluation: Evaluation,
    more: Mapping[str, Any],
) -> None:
    """Writes the files that labeling and serving need.

    Args:
        model: ONNX model with the input and the outputs that the module names.
        directory: Directory of the classifier.
        head: Its last layer.
        image: Evaluation preprocessing.
        class_names: K names by label.
        evaluation: Figures to store in `classifier.json`.
        more: Further entries of `classifier.json`: fingerprint of its features,
            multiply-adds.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If the model is too large for one file.
    """
    path = epath.Path(directory)
    size = model.ByteSize()
    if size > MAX_BYTES:
        raise ValueError(
            f"{directory}: expected a network of at most {MAX_BYTES:,} bytes, got "
            f"{size:,}"
        )
    content = model.SerializeToString(deterministic=True)
    artifact.write_bytes(path / NETWORK, content)
    _save_preprocess(path / EXPORT, image)
    weights = [file_weights(content)]
    facts = {
        "fingerprint": fingerprint(image, class_names, weights),
        "class_names": class_names,
        "image": dataclasses.asdict(image),
        "temperature": 1.0,
        "head": write_head(path, head),
        "network": ONNX,
        "evaluation": evaluation.to_json(),
        **more,
    }
    artifact.write_json(path / CLASSIFIER, facts)


def _save_preprocess(path: epath.Path, image: ImageConfig) -> None:
    module = tf.Module()
    preprocess = tf.function(
        lambda encoded: {"pixels": preprocessing.evaluation_images(encoded, image)},
        input_signature=[tf.TensorSpec([None], tf.string, name="encoded")],
    )
    module.preprocess = preprocess
    with saved_model.writing(path):
        tf.saved_model.save(module, str(path), signatures={"preprocess": preprocess})
