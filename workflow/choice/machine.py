"""Speed of this machine in training, in multiply-adds a second."""

from __future__ import annotations

import subprocess

from stage.system import num_cores
from workflow.choice.decision import Hardware

#: Speed of a core: 1.38e12 multiply-adds of `tiny` in three minutes on an AMD EPYC
#: (`docs/benchmarks.md`, "Learning from few labels").
CORE_SPEED = 1.38e12 / 180
#: Speed of a GPU: ResNet-50 of 4.1 billion multiply-adds, three passes, 412 images a
#: second in float32 on a V100 (NVIDIA DeepLearningExamples, ResNet-50 v1.5).
GPU_SPEED = 412 * 3 * 4.1e9
#: Speed of a TPU: ResNet-RS-50 at 160 px, 1829 images a second on a TPUv3
#: (`docs/benchmarks.md`, "Input pipeline of training").
TPU_SPEED = 1829 * 3 * 2.28e9

_QUERY = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")


def find_machine(*, has_tpu: bool) -> Hardware:
    """Returns what trains: TPUs, a GPU or the cores of this process."""
    if has_tpu:
        return Hardware(name="TPU", speed=TPU_SPEED, is_fast=True)
    gpus = find_gpus()
    if gpus:  # TensorFlow trains on one.
        return Hardware(name=gpus[0], speed=GPU_SPEED, is_fast=True)
    cores = num_cores()
    name = f"{cores} core{'s' if cores > 1 else ''}, no GPU"
    return Hardware(name=name, speed=cores * CORE_SPEED, is_fast=False)


def find_gpus() -> list[str]:
    """Returns the names of NVIDIA's GPUs; none without their driver."""
    try:
        found = subprocess.run(
            _QUERY, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [name.strip() for name in found.stdout.splitlines() if name.strip()]
