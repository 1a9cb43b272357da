"""The training step in JAX, for TPUs, several GPUs, or the CPU.

Data parallel over all devices of all processes: each holds the whole state and its
share of every batch. One program is compiled for all; XLA inserts the communication,
which is the sums of the gradients and, unless it is normalized in groups, batch-norm's
statistics. The result differs from that of one device only in the order of additions.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from classifier.models.factory import is_weight, named_variables
from classifier.training import consistency, losses, optimizer
from classifier.training.backend import names_of
from classifier.training.checkpoint import Arrays, check_names
from classifier.training.config import TrainConfig

#: "step" int32, the arrays of "model", "velocity" and "ema" by variable name, and
#: "thresholds", the state of `consistency`, by name.
State = dict[str, Any]
#: "image" uint8 [B,S,S,3] and "target" float32 [B,K]; with unlabeled images also what
#: `consistency` names.
Batch = dict[str, Any]

#: Steps that the host may run ahead of the devices: enough to keep them busy, few
#: enough that batches do not fill their memory.
STEPS_AHEAD = 2
#: Parts of the state that are arrays by name.
_GROUPS = ("velocity", "ema", "model", "thresholds")


class Layout(NamedTuple):
    """Placement of arrays on devices.

    Attributes:
        replicated: Sharding with a full copy on every device.
        split: Sharding with a part of the first axis on every device.
    """

    replicated: NamedSharding
    split: NamedSharding


def layout_on(devices: list[Any]) -> Layout:
    """Returns the layout on some devices, those of one process side by side."""
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(ordered), ("batch",))
    return Layout(
        replicated=NamedSharding(mesh, PartitionSpec()),
        split=NamedSharding(mesh, PartitionSpec("batch")),
    )


def initial_state(model: keras.Model, thresholds: Arrays | None = None) -> State:
    """Returns the state before the first step, on the host.

    `thresholds` is that of `consistency`.
    """
    named = named_variables(model)
    values = {name: np.asarray(variable) for name, variable in named.items()}
    return {
        "step": np.int32(0),
        "model": values,
        "velocity": {
            name: np.zeros_like(values[name])
            for name in names_of(model, model.trainable_variables)
        },
        # Copies, because a step donates each array of the state once.
        "ema": {
            name: values[name].copy()
            for name, variable in named.items()
            if is_weight(variable)
        },
        "thresholds": dict(thresholds or {}),
    }


def make_train_step(
    model: keras.Model, config: TrainConfig, ema_model: keras.Model | None = None
) -> Callable[[State, Batch], tuple[State, dict[str, Any]]]:
    """Returns the pure function of one step, from state and batch to state, scalars.

    `ema_model` is the network as it is evaluated; without, `model` predicts the targets
    of unlabeled images in any case.
    """
    trainable = names_of(model, model.trainable_variables)
    others = names_of(model, model.non_trainable_variables)
    loss_and_gradients = jax.value_and_grad(_make_loss(model, config), has_aux=True)
    label_views = _make_labeler(model, config, ema_model)

    def train_step(state: State, batch: Batch) -> tuple[State, dict[str, Any]]:
        before = [state["model"][name] for name in trainable]
        # First, so that batch-norm keeps the statistics of the images learned from.
        batch, state, of_views = label_views(state, batch)
        rest = [state["model"][name] for name in others]
        (loss, (cross_entropy, parts, logits, rest)), gradients = loss_and_gradients(
            before, rest, batch, state["thresholds"]
        )
        weights, velocities, rate = optimizer.update(
            before,
            gradients,
            [state["velocity"][name] for name in trainable],
            step=state["step"],
            config=config.optimizer,
            num_steps=config.num_steps,
        )
        values = dict(zip([*trainable, *others], [*weights, *rest], strict=True))
        averages = optimizer.averaged(
            list(state["ema"].values()),
            [values[name] for name in state["ema"]],
            step=state["step"],
            config=config.optimizer,
        )
        new_state = {
            "step": state["step"] + 1,
            "model": values,
            "velocity": dict(zip(trainable, velocities, strict=True)),
            "ema": dict(zip(state["ema"], averages, strict=True)),
            "thresholds": state["thresholds"],
        }
        metrics = {
            "train/loss": loss,
            "train/cross_entropy": cross_entropy,
            **losses.top1(logits=logits, batch=batch),
            **parts,
            **of_views,
            "train/learning_rate": rate,
        }
        return new_state, metrics

    return train_step


def _make_labeler(
    model: keras.Model, config: TrainConfig, ema_model: keras.Model | None
) -> Callable[[State, Batch], tuple[Batch, State, dict[str, Any]]]:
    """Returns the function from state and batch to batch with targets, state, scalars.

    The state is new in the thresholds, and in the variables that the network changes
    while it trains. Without unlabeled images, batch and state are the same.
    """
    is_averaged = config.consistency.labeler == "ema"
    labeler = ema_model if is_averaged and ema_model is not None else model
    trainable = names_of(labeler, labeler.trainable_variables)
    others = names_of(labeler, labeler.non_trainable_variables)

    def label_views(state: State, batch: Batch) -> tuple[Batch, State, dict[str, Any]]:
        if consistency.VIEW not in batch:
            return batch, state, {}
        values = {**state["model"], **(state["ema"] if is_averaged else {})}
        logits, rest = labeler.stateless_call(
            [values[name] for name in trainable],
            [values[name] for name in others],
            batch[consistency.VIEW],
            training=not is_averaged,
        )
        batch, thresholds, metrics = consistency.label_views(
            batch, logits, state["thresholds"], config
        )
        state = {**state, "thresholds": thresholds}
        if not is_averaged:
            state["model"] = values | dict(zip(others, rest, strict=True))
        return batch, state, metrics

    return label_views


def _make_loss(
    model: keras.Model, config: TrainConfig
) -> Callable[[list[Any], list[Any], Batch, State], tuple[Any, tuple[Any, ...]]]:
    """Returns the function from weights, other variables and a batch to the loss.

    It also returns the cross-entropy and its parts, the logits and the updated other
    variables.
    """
    decayed = [
        index
        for index, variable in enumerate(model.trainable_variables)
        if losses.is_decayed(variable.path)
    ]

    def loss_of(
        weights: list[Any], rest: list[Any], batch: Batch, thresholds: State
    ) -> tuple[Any, tuple[Any, ...]]:
        logits, rest = model.stateless_call(
            weights, rest, batch["image"], training=True
        )
        cross_entropy, parts = consistency.loss(
            logits, batch, thresholds, config.consistency
        )
        penalty = losses.l2(
            [weights[index] for index in decayed],
            weight_decay=config.optimizer.weight_decay,
        )
        return cross_entropy + penalty, (cross_entropy, parts, logits, rest)

    return loss_of


def shapes(
    model: keras.Model, config: TrainConfig, layout: Layout
) -> tuple[State, Batch]:
    """Returns shapes and types of a step's arguments, enough to compile it.

    The batch has labeled images only.
    """
    replicated = functools.partial(jax.ShapeDtypeStruct, sharding=layout.replicated)
    split = functools.partial(jax.ShapeDtypeStruct, sharding=layout.split)
    count, size = config.global_batch_size, config.image.size
    state = jax.tree.map(
        lambda array: replicated(array.shape, array.dtype), initial_state(model)
    )
    batch = {
        "image": split((count, size, size, 3), np.uint8),
        "target": split((count, model.output_shape[-1]), np.float32),
    }
    return state, batch


def jit_train_step(
    model: keras.Model,
    config: TrainConfig,
    layout: Layout,
    ema_model: keras.Model | None = None,
) -> Any:
    """Returns the jitted step for a layout; it donates the buffers of the state."""
    return jax.jit(
        make_train_step(model, config, ema_model),
        donate_argnums=0,
        out_shardings=(layout.replicated, layout.replicated),
    )


class JaxBackend:
    """The state of a run as JAX arrays; implements `Backend`."""

    def __init__(
        self,
        model: keras.Model,
        ema_model: keras.Model,
        config: TrainConfig,
        thresholds: Arrays | None = None,
    ) -> None:
        """Takes two models of one network; the second's weights are ignored.

        `thresholds` is the state of `consistency` before the first step.
        """
        self._layout = layout_on(jax.devices())
        self._local = layout_on(jax.local_devices())
        self._state = self._place(initial_state(model, thresholds))
        self._train = jit_train_step(model, config, self._layout, ema_model)
        self._ema_model = ema_model
        self._predict = jax.jit(self._logits)
        self._pending: collections.deque[Any] = collections.deque()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Updates the state with this process's share of a batch; returns scalars."""
        placed = {
            name: jax.make_array_from_process_local_data(
                self._layout.split, np.asarray(values)
            )
            for name, values in batch.items()
        }
        self._state, metrics = self._train(self._state, placed)
        self._pending.append(metrics["train/loss"])
        if len(self._pending) > STEPS_AHEAD:
            self._pending.popleft().block_until_ready()
        return metrics

    def predict(self, images: Any) -> Any:
        """Returns logits [B,K] of the averaged network for uint8 [B,S,S,3].

        Each process predicts its own images, on its own devices.
        """
        averages = {
            name: self._local_part(array) for name, array in self._state["ema"].items()
        }
        placed = jax.device_put(np.asarray(images), self._local.split)
        return self._predict(averages, placed)

    def arrays(self) -> Arrays:
        """Returns the whole state, by name."""
        flat: Arrays = {"step": np.array(self._state["step"], np.int64)}
        for group in _GROUPS:
            for name, array in self._state[group].items():
                flat[f"{group}/{name}"] = np.array(array)
        return flat

    def load_arrays(self, arrays: Arrays) -> None:
        """Loads a state of either backend; ValueError if it is of another network."""
        groups = {group: self._state[group] for group in _GROUPS}
        names = [f"{group}/{name}" for group in groups for name in groups[group]]
        check_names(arrays, ["step", *names])
        loaded = {
            group: {
                # TensorFlow has seeds of another width.
                name: arrays[f"{group}/{name}"].astype(array.dtype)
                for name, array in state.items()
            }
            for group, state in groups.items()
        }
        self._state = self._place({"step": np.int32(arrays["step"]), **loaded})

    def start_trace(self, directory: str) -> None:
        """Starts to record what host and devices do."""
        jax.profiler.start_trace(directory)

    def mark(self, step: int) -> Any:
        """Returns a context manager that names a step in the trace."""
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def stop_trace(self) -> None:
        """Waits for the devices, then writes the trace."""
        jax.block_until_ready(self._state["step"])
        jax.profiler.stop_trace()

    def _place(self, state: State) -> State:
        """Puts a state, the same in every process, on all devices."""

        def place(array: Any) -> Any:
            array = np.asarray(array)
            return jax.make_array_from_callback(
                array.shape,
                self._layout.replicated,
                # Copies, because CPU devices would share the array's memory.
                lambda index: np.array(array[index]),
            )

        placed: State = jax.tree.map(place, state)
        return placed

    def _local_part(self, array: Any) -> Any:
        """Returns the part on this process's devices, without copying it."""
        parts = {shard.device: shard.data for shard in array.addressable_shards}
        return jax.make_array_from_single_device_arrays(
            array.shape,
            self._local.replicated,
            [parts[device] for device in self._local.split.mesh.devices.flat],
        )

    def _logits(self, averages: dict[str, Any], images: Any) -> Any:
        model = self._ema_model

        def values(variables: list[Any]) -> list[Any]:
            return [
                averages.get(name, variable.value)
                for name, variable in zip(
                    names_of(model, variables), variables, strict=True
                )
            ]

        logits, _ = model.stateless_call(
            values(model.trainable_variables),
            values(model.non_trainable_variables),
            images,
            training=False,
        )
        return logits
