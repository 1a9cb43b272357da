"""The training step in TensorFlow, for the CPU or one GPU."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from classifier import losses, optimizer
from classifier.checkpoint import Arrays
from classifier.config import TrainConfig
from classifier.network import is_weight, variable_names

#: One CPU, with all its cores, or one GPU.
NUM_DEVICES = 1


class TensorFlowBackend:
    """Holds the state of a run and moves it on by one batch.

    Attributes:
        ema_model: The network with the averaged weights and batch-norm statistics:
            what is evaluated and exported.
    """

    def __init__(
        self, model: keras.Model, ema_model: keras.Model, config: TrainConfig
    ) -> None:
        """Takes two models of one network; the second starts as the first is."""
        self._config = config
        self._model = model
        self.ema_model = ema_model
        ema_model.set_weights(model.get_weights())
        self._velocities = [
            tf.Variable(tf.zeros(v.shape), trainable=False)
            for v in self._model.trainable_variables
        ]
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._averages = [
            (average, value)
            for average, value in zip(
                self.ema_model.variables, self._model.variables, strict=True
            )
            if is_weight(value)
        ]
        self._train = tf.function(self._train_step)
        self._predict = tf.function(lambda x: self.ema_model(x, training=False))

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Updates the state; returns scalar tensors named as in `metrics.jsonl`."""
        metrics: dict[str, Any] = self._train(batch["image"], batch["target"])
        return metrics

    def predict(self, images: Any) -> Any:
        """Returns logits [B,K] of the averaged network for uint8 [B,S,S,3]."""
        return self._predict(images)

    def arrays(self) -> Arrays:
        """Returns the whole state, by name."""
        return {name: np.asarray(v) for name, v in self._named_state().items()}

    def load_arrays(self, arrays: Arrays) -> None:
        """Takes over a state that `arrays` has returned.

        Raises:
            ValueError: If it is that of another network.
        """
        state = self._named_state()
        if arrays.keys() != state.keys():
            different = sorted(arrays.keys() ^ state.keys())[0]
            raise ValueError(f"checkpoint of another network: {different} differs")
        for name, variable in state.items():
            variable.assign(arrays[name])

    def _named_state(self) -> dict[str, Any]:
        variables = self._model.variables
        name_of = {
            id(variable): name
            for variable, name in zip(
                variables, variable_names(self._model), strict=True
            )
        }
        state = {"step": self._step}
        trainable = self._model.trainable_variables
        for variable, velocity in zip(trainable, self._velocities, strict=True):
            state[f"velocity/{name_of[id(variable)]}"] = velocity
        for average, value in self._averages:
            state[f"ema/{name_of[id(value)]}"] = average
        for variable in variables:
            state[f"model/{name_of[id(variable)]}"] = variable
        return state

    def _train_step(self, images: Any, targets: Any) -> dict[str, Any]:
        config = self._config
        weights = self._model.trainable_variables
        decayed = [v for v in weights if losses.is_decayed(v.path)]
        with tf.GradientTape() as tape:
            logits = self._model(images, training=True)
            cross_entropy = losses.cross_entropy(logits=logits, targets=targets)
            penalty = losses.l2(decayed, weight_decay=config.optimizer.weight_decay)
            loss = cross_entropy + penalty
        gradients = tape.gradient(loss, weights)
        rate = optimizer.learning_rate(
            self._step, config.optimizer, num_steps=config.num_steps
        )
        for weight, gradient, velocity in zip(
            weights, gradients, self._velocities, strict=True
        ):
            new_weight, new_velocity = optimizer.nesterov(
                weight=weight,
                gradient=gradient,
                velocity=velocity,
                learning_rate=rate,
                momentum=config.optimizer.momentum,
            )
            weight.assign(new_weight)
            velocity.assign(new_velocity)
        decay = optimizer.ema_decay(self._step, config.optimizer)
        for average, value in self._averages:
            if config.optimizer.ema_decay == 0.0:
                average.assign(value)
            else:
                average.assign(optimizer.ema(average=average, value=value, decay=decay))
        self._step.assign_add(1)
        hits = tf.argmax(logits, axis=-1) == tf.argmax(targets, axis=-1)
        return {
            "train/loss": loss,
            "train/cross_entropy": cross_entropy,
            "train/top1": tf.reduce_mean(tf.cast(hits, tf.float32)),
            "train/learning_rate": rate,
        }
