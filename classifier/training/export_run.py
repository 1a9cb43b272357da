"""Exports a run's newest checkpoint as a classifier."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import keras
from etils import epath

from classifier.data.config import ImageConfig
from classifier.export.facts import Evaluation
from classifier.export.saved_classifier import export_classifier
from classifier.models.config import ModelConfig
from classifier.models.factory import build_network, is_weight, named_variables
from classifier.training.checkpoint import Checkpoints
from stage import artifact


def export_run(workdir: epath.PathLike, evaluation: Evaluation) -> None:
    """Exports the averaged network of a run's newest checkpoint.

    The export needs TensorFlow, and Keras has one backend per process: a run on another
    backend exports in a subprocess. The evaluation is stored with the classifier.
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
        # The accelerators stay with this process.
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
        check=True,
    )


def export_checkpoint(workdir: epath.PathLike, evaluation: Evaluation) -> None:
    """Exports the newest checkpoint in this process, see `export_run`.

    Raises:
        ValueError: If there is no checkpoint.
    """
    path = epath.Path(workdir)
    description = artifact.read_json(path / artifact.CONFIG)
    config, class_names = description["config"], tuple(description["class_names"])
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
        left_out=description.get("left_out"),
    )
