"""The training step in TensorFlow, for the CPU or one GPU."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from classifier.models.factory import is_weight
from classifier.training import consistency, losses, optimizer
from classifier.training.backend import names_of
from classifier.training.checkpoint import Arrays, check_names
from classifier.training.config import TrainConfig


class TensorFlowBackend:
    """The state of a run as TensorFlow variables; implements `Backend`."""

    def __init__(
        self,
        model: keras.Model,
        ema_model: keras.Model,
        config: TrainConfig,
        thresholds: Arrays | None = None,
    ) -> None:
        """Takes two models of one network; the second becomes the moving average.

        `thresholds` is the state of `consistency` before the first step.
        """
        self._config = config
        self._model = model
        self._ema_model = ema_model
        ema_model.set_weights(model.get_weights())
        self._velocities = [
            tf.Variable(tf.zeros(v.shape), trainable=False)
            for v in self._model.trainable_variables
        ]
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._thresholds = {
            name: tf.Variable(array, trainable=False)
            for name, array in (thresholds or {}).items()
        }
        self._averages = list(filter(is_weight, ema_model.variables))
        self._values = list(filter(is_weight, model.variables))
        # No `if` or loop depends on a tensor: AutoGraph would only take seconds.
        self._train = tf.function(self._train_step, autograph=False)
        self._predict = tf.function(
            lambda x: self._ema_model(x, training=False), autograph=False
        )

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Updates the state with a batch; returns scalar tensors."""
        return self._train(batch)

    def predict(self, images: Any) -> Any:
        """Returns logits [B,K] of the averaged network for uint8 [B,S,S,3]."""
        return self._predict(images)

    def arrays(self) -> Arrays:
        """Returns the whole state, by name."""
        return {name: np.asarray(v) for name, v in self._named_state().items()}

    def load_arrays(self, arrays: Arrays) -> None:
        """Loads a state of either backend; ValueError if it is of another network."""
        state = self._named_state()
        check_names(arrays, state)
        for name, variable in state.items():
            # JAX has seeds of another width.
            variable.assign(tf.cast(arrays[name], variable.dtype))

    def start_trace(self, directory: str) -> None:
        """Starts to record what host and device do."""
        tf.profiler.experimental.start(directory)

    def mark(self, step: int) -> Any:
        """Returns a context manager that names a step in the trace."""
        return tf.profiler.experimental.Trace("train", step_num=step, _r=1)

    def stop_trace(self) -> None:
        """Writes the trace."""
        tf.profiler.experimental.stop()

    def _named_state(self) -> dict[str, Any]:
        model = self._model
        state = {"step": self._step}
        for group, named_after, variables in (
            ("velocity", model.trainable_variables, self._velocities),
            ("ema", self._values, self._averages),
            ("model", model.variables, model.variables),
        ):
            names = (f"{group}/{name}" for name in names_of(model, named_after))
            state |= dict(zip(names, variables, strict=True))
        for name, variable in self._thresholds.items():
            state[f"thresholds/{name}"] = variable
        return state

    def _label_views(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Returns the batch with targets of its unlabeled images, if any; metrics."""
        if consistency.VIEW not in batch:
            return batch, {}
        is_averaged = self._config.consistency.labeler == "ema"
        labeler = self._ema_model if is_averaged else self._model
        logits = labeler(batch[consistency.VIEW], training=not is_averaged)
        batch, state, metrics = consistency.label_views(
            batch, logits, self._thresholds, self._config
        )
        _assign([self._thresholds[name] for name in state], list(state.values()))
        return batch, metrics

    def _train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        config = self._config.optimizer
        weights = self._model.trainable_variables
        decayed = [v for v in weights if losses.is_decayed(v.path)]
        # First, so that batch-norm keeps the statistics of the images learned from.
        batch, of_views = self._label_views(batch)
        with tf.GradientTape() as tape:
            logits = self._model(batch["image"], training=True)
            cross_entropy, parts = consistency.loss(
                logits, batch, self._thresholds, self._config.consistency
            )
            penalty = losses.l2(decayed, weight_decay=config.weight_decay)
            loss = cross_entropy + penalty
        new_weights, new_velocities, rate = optimizer.update(
            weights,
            tape.gradient(loss, weights),
            self._velocities,
            step=self._step,
            config=config,
            num_steps=self._config.num_steps,
        )
        _assign(weights, new_weights)
        _assign(self._velocities, new_velocities)
        averages = optimizer.averaged(
            self._averages, self._values, step=self._step, config=config
        )
        _assign(self._averages, averages)
        self._step.assign_add(1)
        return {
            "train/loss": loss,
            "train/cross_entropy": cross_entropy,
            **losses.top1(logits=logits, batch=batch),
            **parts,
            **of_views,
            "train/learning_rate": rate,
        }


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
