"""Exports a run's newest checkpoint as a classifier."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import keras
from etils import epath

from classifier.export.facts import Compute, Evaluation
from classifier.export.saved_classifier import export_classifier
from classifier.models import flops
from classifier.models.factory import build_network, is_weight, named_variables
from classifier.training.checkpoint import Checkpoints
from classifier.training.config import TrainingRunConfig, read_run
from stage import artifact


def export_run(workdir: epath.PathLike, evaluation: Evaluation) -> None:
    """Exports the averaged network of a run's newest checkpoint.

    The export needs TensorFlow, and Keras has one backend per process: a run on another
    backend exports in a subprocess. The evaluation is stored with the classifier.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If there is no checkpoint.
    """
    if keras.backend.backend() == "tensorflow":
        export_checkpoint(workdir, evaluation)
        return
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "classifier.export_checkpoint"),
            f"--workdir={workdir}",
            f"--evaluation={json.dumps(dataclasses.asdict(evaluation))}",
        ],
        # The accelerators stay with this process.
        env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode:
        reason = ended.stderr.strip() or f"status {ended.returncode}"
        reason = reason.splitlines()[-1].removeprefix("error: ")
        raise OSError(f"cannot export {workdir}: {reason}")


def export_checkpoint(workdir: epath.PathLike, evaluation: Evaluation) -> None:
    """Exports the newest checkpoint in this process, see `export_run`.

    Raises:
        ValueError: If there is no checkpoint.
    """
    path = epath.Path(workdir)
    run = read_run(path)
    config, class_names = run.recipe, run.class_names
    latest = Checkpoints(path / "checkpoints", keep=1).load_latest()
    if latest is None:
        raise ValueError(f"{path}: expected a checkpoint to export, found none")
    if not class_names:
        raise ValueError(f"{path}: expected class_names in {artifact.CONFIG}")
    _, arrays = latest
    model = build_network(
        config.model,
        image_size=config.image.size,
        num_classes=len(class_names),
        seed=config.seed,
    )
    for name, variable in named_variables(model).items():
        if is_weight(variable):
            variable.assign(arrays[f"ema/{name}"])
    export_classifier(
        model,
        path,
        image=config.image,
        class_names=class_names,
        evaluation=evaluation,
        left_out=run.left_out,
        compute=_count(model, run),
    )


def _count(model: keras.Model, run: TrainingRunConfig) -> Compute | None:
    """Returns the multiply-adds of the run; None if the network's cannot be counted."""
    try:
        of_image = flops.count_multiply_adds(model)
    except ValueError:
        return None
    config = run.recipe
    batch_size = config.global_batch_size
    training = flops.training_multiply_adds(
        of_image,
        num_steps=config.num_steps,
        with_gradient=batch_size,
        without_gradient=(
            config.consistency.unlabeled_of(batch_size) if run.unlabeled else 0
        ),
    )
    return Compute(image=float(of_image), training=float(training))
