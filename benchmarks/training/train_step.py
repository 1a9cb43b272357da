"""Compares the JAX training step with timm's, on a GPU; on a CPU only as a toy.

  python -m benchmarks.training.train_step

Both train the same network, with the published recipe's dropout and stochastic depth,
on a batch that is already on the device: from uint8 images to updated weights,
velocities and averages.

* `ours`: `classifier.training.backend_jax`, one XLA program, layers in bfloat16.
* `timm`: `timm.create_model("resnetrs50")` and so on at its fastest: torch.compile,
  channels_last, bfloat16 by AMP, SGD with Nesterov momentum in one fused kernel, and
  `ModelEmaV3`.

Both have a turn in each round, in one process; figures are medians over the rounds.
Compiling is not counted. `peak_memory_gb` is by each framework's own allocator. Needs
no TensorFlow and, without timm, no PyTorch. On a CPU the same command compares small
images in float32. The last line is all figures as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from benchmarks.measuring import peers
from benchmarks.measuring.goals import Verdict, as_json, log_tables
from benchmarks.measuring.turns import Figures, repeat, take_turns
from classifier.training import devices, presets
from classifier.training.config import TrainConfig
from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_SECONDS = FLAGS.number("seconds", 5.0, "Seconds per turn.", lower_bound=0.0)

ROUNDS = 5
NUM_CLASSES = 1000
SPEED = "images_per_second"
#: Steps that the host starts before it waits for them, so that it does not run far
#: ahead. As many precede the first turn, for compilers and allocators.
STEPS = 3


class TrainedNetwork(NamedTuple):
    """A network to train.

    Attributes:
        preset: Our preset.
        timm: timm's name of the same network.
        batch_size: Images per step, enough to keep a GPU of 80 GB busy.
        goal: Minimum images per second on one H200; None without a goal.
    """

    preset: str
    timm: str
    batch_size: int
    goal: int | None = None


GPU_NETWORKS = (
    TrainedNetwork("resnet_rs_50_160", "resnetrs50", 1024, goal=7200),
    TrainedNetwork("resnet_rs_152_256", "resnetrs152", 256, goal=1060),
)
TOY_NETWORKS = (TrainedNetwork("resnet_rs_50_64", "resnetrs50", 16),)


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        # Leaves memory to PyTorch.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        hardware = devices.open_devices("jax")
    import jax

    on_gpu = jax.default_backend() == "gpu"
    cli.log(hardware.describe())
    if not on_gpu:
        cli.log("no GPU: a toy comparison, which predicts nothing about GPUs")
    ways = peers.installed({"ours": (), "timm": ("timm",)})
    figures = {
        network.preset: _measure(network, ways, on_gpu=on_gpu)
        for network in (GPU_NETWORKS if on_gpu else TOY_NETWORKS)
    }
    cli.log(json.dumps({"device": hardware.kind, "is_toy": not on_gpu, **figures}))


def _measure(
    network: TrainedNetwork, ways: Sequence[str], *, on_gpu: bool
) -> dict[str, Any]:
    """Returns the figures of a network, and prints them."""
    config = dataclasses.replace(
        presets.find(network.preset),
        global_batch_size=network.batch_size,
        dtype="bfloat16" if on_gpu else "float32",
    )
    trainers: dict[str, Trainer] = {"ours": _Ours(config)}
    if "timm" in ways:
        trainers["timm"] = _Timm(network, config)
    for trainer in trainers.values():
        trainer.train()

    def measure(way: str) -> Figures:
        count, elapsed = repeat(trainers[way].train, seconds=_SECONDS.value)
        return {SPEED: network.batch_size * STEPS * count / elapsed}

    rounds = take_turns(trainers, measure, rounds=ROUNDS)
    speeds = rounds.medians(SPEED)
    memory = {name: trainer.peak_memory() for name, trainer in trainers.items()}
    ratios = []
    if "timm" in speeds:
        ratios.append(Verdict("ratio_to_timm", speeds["ours"] / speeds["timm"]))
    cli.log(f"\n{network.preset}, peak GB: {memory}")
    goal = Verdict(SPEED, speeds["ours"], at_least=network.goal)
    log_tables(rounds, [goal, *ratios])
    return {SPEED: speeds, "peak_memory_gb": memory, **as_json(ratios)}


def _batch(config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns random images uint8 [B,S,S,3] and smoothed targets float32 [B,K]."""
    rng = np.random.default_rng(0)
    count, size = config.global_batch_size, config.image.size
    labels = rng.integers(0, NUM_CLASSES, count)
    hard = np.eye(NUM_CLASSES, dtype=np.float32)[labels]
    targets = hard * (1 - config.label_smoothing) + config.label_smoothing / NUM_CLASSES
    return rng.integers(0, 256, (count, size, size, 3), np.uint8), targets


class _Ours:
    """The step as `--backend=jax` compiles it, on the first device.

    `train` does `STEPS` steps; `peak_memory` returns GB of the device's memory, None
    where unknown.
    """

    def __init__(self, config: TrainConfig) -> None:
        import jax

        from classifier.models import factory
        from classifier.training import backend_jax

        model = factory.build_network(
            config.model,
            image_size=config.image.size,
            num_classes=NUM_CLASSES,
            dtype=config.dtype,
        )
        layout = backend_jax.layout_on(jax.devices()[:1])
        self._step = backend_jax.jit_train_step(model, config, layout)
        self._state = jax.device_put(
            backend_jax.initial_state(model), layout.replicated
        )
        images, targets = _batch(config)
        self._batch = jax.device_put({"image": images, "target": targets}, layout.split)
        self._device = jax.devices()[0]

    def train(self) -> None:
        for _ in range(STEPS):
            self._state, _ = self._step(self._state, self._batch)
        self._state["step"].block_until_ready()

    def peak_memory(self) -> float | None:
        peak = (self._device.memory_stats() or {}).get("peak_bytes_in_use")
        return None if peak is None else round(peak / 1e9, 2)


class _Timm:
    """timm's network in a PyTorch step as in timm's training script; like `_Ours`."""

    def __init__(self, network: TrainedNetwork, config: TrainConfig) -> None:
        import timm
        import torch
        from timm.utils import ModelEmaV3

        self._torch = torch
        self._kind = "cuda" if torch.cuda.is_available() else "cpu"
        self._config = config
        model = timm.create_model(
            network.timm,
            num_classes=NUM_CLASSES,
            drop_rate=config.model.dropout_rate,
            drop_path_rate=config.model.stochastic_depth_rate,
        )
        self._model = model.to(self._kind, memory_format=torch.channels_last).train()
        self._average = ModelEmaV3(self._model, decay=config.optimizer.ema_decay)
        self._optimizer = torch.optim.SGD(
            self._model.parameters(),
            lr=1e-3,
            momentum=config.optimizer.momentum,
            weight_decay=config.optimizer.weight_decay,
            nesterov=True,
            fused=self._kind == "cuda",
        )
        images, targets = _batch(config)
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        self._images = pixels.to(self._kind, memory_format=torch.channels_last)
        self._targets = torch.from_numpy(targets).to(self._kind)
        self._loss = torch.compile(self._loss_of)

    def _loss_of(self, images: Any, targets: Any) -> Any:
        torch = self._torch
        pixels = (images.float() / 255 - 0.45) / 0.225
        with torch.autocast(
            self._kind, torch.bfloat16, enabled=self._config.dtype == "bfloat16"
        ):
            logits = self._model(pixels)
        return torch.nn.functional.cross_entropy(logits.float(), targets)

    def train(self) -> None:
        for _ in range(STEPS):
            self._loss(self._images, self._targets).backward()
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
            self._average.update(self._model)
        if self._kind == "cuda":
            self._torch.cuda.synchronize()

    def peak_memory(self) -> float | None:
        if self._kind != "cuda":
            return None
        return round(self._torch.cuda.max_memory_allocated() / 1e9, 2)


Trainer: TypeAlias = _Ours | _Timm


if __name__ == "__main__":
    cli.run(main, FLAGS)
