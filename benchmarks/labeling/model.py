"""The classifier as peers call it: from encoded images to logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from benchmarks.labeling.task import BATCH_SIZE, LabelingTask
from classifier.export import saved_model
from classifier.export.facts import EXPORT
from classifier.inference.engine import Engine
from classifier.inference.ensemble import Classifier

#: From at most `BATCH_SIZE` encoded images to logits float32 [B,K].
Model = Callable[[Sequence[bytes]], NDArray[np.float32]]


def limit_threads(task: LabelingTask) -> None:
    """Limits TensorFlow to the task's threads; call it before any other use."""
    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(task.threads)


def open_classifier(task: LabelingTask) -> Classifier:
    """Returns the classifier on the task's engine."""
    return Classifier(
        task.classifier, Engine(str(task.engine), str(task.dtype)), task.threads
    )


def open_model(task: LabelingTask) -> Model:
    """Returns the model, warmed up: the task's engine, or else the plain SavedModel."""
    limit_threads(task)
    model = _saved_model(task) if task.engine is None else _on_engine(task)
    image = tf.io.encode_jpeg(np.zeros((375, 500, 3), np.uint8)).numpy()
    model([image] * BATCH_SIZE)
    return model


def _saved_model(task: LabelingTask) -> Model:
    # Captured by `run`: the signature alone does not keep the variables alive.
    loaded = saved_model.load(f"{task.classifier}/{EXPORT}")

    def run(encoded: Sequence[bytes]) -> NDArray[np.float32]:
        # A positional argument would be slow: TensorFlow first formats the images
        # into the text of an error.
        serve = loaded.signatures["serving_default"]
        return serve(encoded=tf.constant(encoded))["logits"].numpy()

    return run


def _on_engine(task: LabelingTask) -> Model:
    classifier = open_classifier(task)
    return lambda encoded: classifier.logits(classifier.preprocess(encoded))
