"""Measures the JAX training step beside timm's, on a GPU; on a CPU only as a toy.

  python -m benchmarks.training.train_step

Both train the same network on a batch that is already on the device: uint8 images to
updated weights, velocities and averages, with dropout and stochastic depth of the
published recipe.

* `ours`: `classifier.training.backend_jax`, one XLA program, layers in bfloat16.
* `timm`: `timm.create_model("resnetrs50")` and so on at its best: torch.compile,
  channels_last, bfloat16 by AMP, SGD with Nesterov momentum in one fused kernel, and
  `ModelEmaV3`.

They take turns for several rounds in one process; a figure is the median over rounds.
Compiling is not counted. `peak_memory_gb` is what each framework's own allocator
reports. Neither TensorFlow nor, for ours alone, PyTorch is needed. Without a GPU the
same command compares small images in float32, which says nothing about GPUs, and says
so. The last line is all figures as JSON.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from absl import flags

from benchmarks.measuring.turns import take_turns
from classifier.training import devices, presets
from classifier.training.config import TrainConfig
from stage import cli

_SECONDS = flags.DEFINE_float(
    "seconds", 5.0, "Duration of one measurement.", lower_bound=0.0
)

ROUNDS = 5
NUM_CLASSES = 1000
#: Steps before the first measurement: compilers and allocators have settled.
WARM_UP = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One network to be trained.

    Attributes:
        preset: Ours.
        timm: The same network there.
        batch_size: Images of a step: as many as keep a GPU of 80 GB busy.
        goal: Images a second that one H200 is to train at the least.
    """

    preset: str
    timm: str
    batch_size: int
    goal: int | None = None


GPU_CASES = (
    Case(preset="resnet_rs_50_160", timm="resnetrs50", batch_size=1024, goal=7200),
    Case(preset="resnet_rs_152_256", timm="resnetrs152", batch_size=256, goal=1060),
)
TOY_CASES = (Case(preset="resnet_rs_50_64", timm="resnetrs50", batch_size=16),)


class Peer(Protocol):
    """A way to train."""

    def step(self) -> None:
        """Starts one step."""

    def wait(self) -> None:
        """Returns when all steps are done."""

    def peak_memory(self) -> float | None:
        """Returns GB of the device's memory used at most; None where unknown."""


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        # PyTorch wants memory, too.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        hardware = devices.open_devices("jax")
    import jax

    on_gpu = jax.default_backend() == "gpu"
    cli.log(hardware.describe())
    if not on_gpu:
        cli.log("no GPU: a toy comparison on the CPU, which says nothing about one")
    if importlib.util.find_spec("timm") is None:
        cli.log("timm is not installed: ours alone")
    figures = {}
    for case in GPU_CASES if on_gpu else TOY_CASES:
        figures[case.preset] = _measure(case, on_gpu=on_gpu)
        _tell(case, figures[case.preset])
    cli.log(json.dumps({"device": hardware.kind, "is_toy": not on_gpu, **figures}))


def _measure(case: Case, *, on_gpu: bool) -> dict[str, Any]:
    peers: dict[str, Peer] = {"ours": _Ours(_config(case, on_gpu=on_gpu))}
    if importlib.util.find_spec("timm") is not None:
        peers["timm"] = _Timm(case, _config(case, on_gpu=on_gpu))
    for peer in peers.values():
        for _ in range(WARM_UP):
            peer.step()
        peer.wait()
    rounds = take_turns(
        peers, lambda peer: case.batch_size * _steps_per_second(peer), rounds=ROUNDS
    )
    speeds = {name: statistics.median(speeds) for name, speeds in rounds.items()}
    figures: dict[str, Any] = {
        "images_per_second": {name: round(speed, 1) for name, speed in speeds.items()},
        "peak_memory_gb": {name: peer.peak_memory() for name, peer in peers.items()},
    }
    if "timm" in speeds:
        figures["ratio_to_timm"] = round(speeds["ours"] / speeds["timm"], 3)
    return figures


def _config(case: Case, *, on_gpu: bool) -> TrainConfig:
    return dataclasses.replace(
        presets.find(case.preset),
        global_batch_size=case.batch_size,
        dtype="bfloat16" if on_gpu else "float32",
    )


def _steps_per_second(peer: Peer) -> float:
    """Returns the speed over at least one step, and as many as the time allows."""
    started = time.perf_counter()
    count = 0
    while count == 0 or time.perf_counter() - started < _SECONDS.value:
        peer.step()
        count += 1
        if count % WARM_UP == 0:
            peer.wait()  # Else the host would run far ahead of the device.
    peer.wait()
    return count / (time.perf_counter() - started)


def _batch(config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Returns random images uint8 [B,S,S,3] and smoothed targets float32 [B,K]."""
    rng = np.random.default_rng(0)
    count, size = config.global_batch_size, config.image.size
    labels = rng.integers(0, NUM_CLASSES, count)
    hard = np.eye(NUM_CLASSES, dtype=np.float32)[labels]
    targets = hard * (1 - config.label_smoothing) + config.label_smoothing / NUM_CLASSES
    return rng.integers(0, 256, (count, size, size, 3), np.uint8), targets


class _Ours:
    """The step as `--backend=jax` compiles it, on the first device."""

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

    def step(self) -> None:
        self._state, _ = self._step(self._state, self._batch)

    def wait(self) -> None:
        self._state["step"].block_until_ready()

    def peak_memory(self) -> float | None:
        statistics = self._device.memory_stats() or {}
        peak = statistics.get("peak_bytes_in_use")
        return None if peak is None else round(peak / 1e9, 2)


class _Timm:
    """timm's network in a step of PyTorch's, after timm's own training script."""

    def __init__(self, case: Case, config: TrainConfig) -> None:
        import timm
        import torch
        from timm.utils import ModelEmaV3

        self._torch = torch
        self._kind = "cuda" if torch.cuda.is_available() else "cpu"
        self._config = config
        model = timm.create_model(
            case.timm,
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

    def step(self) -> None:
        self._loss(self._images, self._targets).backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._average.update(self._model)

    def wait(self) -> None:
        if self._kind == "cuda":
            self._torch.cuda.synchronize()

    def peak_memory(self) -> float | None:
        if self._kind != "cuda":
            return None
        return round(self._torch.cuda.max_memory_allocated() / 1e9, 2)


def _tell(case: Case, figures: Mapping[str, Any]) -> None:
    for name, speed in figures["images_per_second"].items():
        memory = figures["peak_memory_gb"][name]
        gigabytes = "" if memory is None else f"  {memory:6.2f} GB"
        cli.log(f"{case.preset:18} {name:5} {speed:9.1f} images/s{gigabytes}")
    if "ratio_to_timm" in figures:
        cli.log(f"{case.preset:18} ours is {figures['ratio_to_timm']:.2f}x timm")
    if case.goal is not None:
        met = figures["images_per_second"]["ours"] >= case.goal
        verdict = "met" if met else "missed"
        cli.log(f"{case.preset:18} goal of {case.goal} on one H200: {verdict}")


if __name__ == "__main__":
    cli.run(main)
