"""A trained classifier as files: `model.keras`, `export/` and `classifier.json`.

The SavedModel has three signatures. `preprocess` turns encoded images, string [B],
into `pixels` uint8 [B,S,S,3]; `pixels` turns those into `logits` float32 [B,K];
`serving_default` does both in one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from classifier.data import preprocessing
from classifier.models.factory import (
    build_network,
    count_parameters,
    is_weight,
    named_variables,
)
from classifier.training.checkpoint import Checkpoints
from classifier.training.config import ImageConfig, ModelConfig
from classifier.training.loop import Evaluation
from stage import artifact

EXPORT = "export"
CLASSIFIER = "classifier.json"
MODEL = "model.keras"


def export_run(workdir: epath.PathLike, evaluation: Evaluation) -> None:
    """Exports what a run's newest checkpoint has averaged.

    Always through TensorFlow, whatever the run was computed with: Keras has but one
    backend in a process, so another one needs another process.

    Args:
        workdir: The run's directory.
        evaluation: Figures to keep beside the model.
    """
    if keras.backend.backend() == "tensorflow":
        export_checkpoint(workdir, evaluation)
        return
    subprocess.run(
        [
            *(sys.executable, "-m", "classifier.export_checkpoint"),
            f"--workdir={workdir}",
            f"--evaluation={json.dumps(dataclasses.asdict(evaluation))}",
        ],
        # The accelerators are this process's.
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )


def export_checkpoint(workdir: epath.PathLike, evaluation: Evaluation) -> None:
    """Exports what the newest checkpoint of a run in `workdir` has averaged.

    Raises:
        ValueError: If there is no checkpoint.
    """
    path = epath.Path(workdir)
    described = artifact.read_json(path / artifact.CONFIG)
    config, class_names = described["config"], tuple(described["class_names"])
    image = ImageConfig(**config["image"])
    latest = Checkpoints(path / "checkpoints", keep=1).load_latest()
    if latest is None:
        raise ValueError(f"{path}: expected a checkpoint to export, found none")
    _, arrays = latest
    model = build_network(
        ModelConfig(**config["model"]),
        image_size=image.size,
        num_classes=len(class_names),
        seed=config["seed"],
    )
    for name, variable in named_variables(model).items():
        if is_weight(variable):
            variable.assign(arrays[f"ema/{name}"])
    export_classifier(
        model,
        path,
        image=image,
        class_names=class_names,
        evaluation=evaluation,
        left_out=described.get("left_out"),
    )


def export_classifier(
    model: keras.Model,
    directory: epath.PathLike,
    *,
    image: ImageConfig,
    class_names: tuple[str, ...],
    evaluation: Evaluation,
    left_out: dict[str, Any] | None = None,
) -> None:
    """Writes what labeling, serving and the next round need.

    Args:
        model: uint8 pixels to logits, with the weights to keep.
        directory: The run's directory.
        image: Evaluation preprocessing, traced into the graph.
        class_names: K names by label.
        evaluation: Figures to keep beside the model.
        left_out: Which fold of its labeled images it has not learned from.
    """
    path = epath.Path(directory)
    model.save(str(path / MODEL))
    _save_signatures(model, str(path / EXPORT), image)
    artifact.write_json(
        path / CLASSIFIER,
        {
            "fingerprint": _fingerprint(model, image, class_names),
            "class_names": class_names,
            "image": dataclasses.asdict(image),
            "temperature": 1.0,
            "left_out": left_out,
            "num_parameters": count_parameters(model),
            "evaluation": {
                **dataclasses.asdict(evaluation),
                "top1": evaluation.top1,
            },
        },
    )


def _save_signatures(model: keras.Model, path: str, image: ImageConfig) -> None:
    size = image.size
    encoded_spec = tf.TensorSpec([None], tf.string, name="encoded")
    pixels_spec = tf.TensorSpec([None, size, size, 3], tf.uint8, name="pixels")

    def pixels_of(encoded: Any) -> Any:
        return preprocessing.evaluation_images(encoded, image)

    def logits_of(pixels: Any) -> Any:
        return model(pixels, training=False)

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda encoded: {"logits": logits_of(pixels_of(encoded))},
        input_signature=[encoded_spec],
    )
    archive.add_endpoint(
        "preprocess",
        lambda encoded: {"pixels": pixels_of(encoded)},
        input_signature=[encoded_spec],
    )
    archive.add_endpoint(
        "pixels",
        lambda pixels: {"logits": logits_of(pixels)},
        input_signature=[pixels_spec],
    )
    archive.write_out(path, verbose=False)


def _fingerprint(
    model: keras.Model, image: ImageConfig, class_names: tuple[str, ...]
) -> str:
    head = repr((dataclasses.astuple(image), class_names)).encode()
    weights = (np.ascontiguousarray(v).tobytes() for v in model.get_weights())
    return artifact.fingerprint([head, *weights])
