"""Goals of the labeling job: what it is compared with, and the bounds."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

from benchmarks.labeling.inputs import FREE, ONNX
from benchmarks.measuring.goals import Verdict
from benchmarks.measuring.turns import Rounds
from stage.system import num_cores

OURS = "ours"
SPEED = "images_per_second"
#: Divisions of the bare loop among processes and threads; the faster is compared.
BARE = ("bare_processes", "bare_threads")
#: The same of a loop around ONNX Runtime itself, and the engine that compares to it.
ONNX_ENGINE = ("onnxruntime", "float32")
ONNX_RUNTIME = ("onnxruntime_processes", "onnxruntime_threads")
#: By ratio: the ways that ours is compared with, of which the fastest counts.
COMPARED: dict[str, tuple[str, ...]] = {
    "ratio_to_bare_loop": BARE,
    "ratio_to_float32_job": ("float32_job",),
    "ratio_to_stock_equal": ("stock_equal",),
    "ratio_to_stock_installed": ("stock_installed",),
    "ratio_to_ray_equal": ("ray_equal",),
    "ratio_to_ray_installed": ("ray_installed",),
    "ratio_to_timm": ("timm",),
    "ratio_to_onnxruntime": ONNX_RUNTIME,
    "ratio_processes_to_threads": ("threads",),
}
CASES = tuple(sorted({way for ways in COMPARED.values() for way in ways}))
#: Upper bounds of the other figures.
MAX_MEMORY_RATIO = 1.1
MAX_START_SECONDS = 12.0
MAX_LOADS = 1.0


class CpuFeatures(NamedTuple):
    """Usable cores, and whether they have matrix or vector operations in bfloat16."""

    cores: int
    amx: bool
    avx512_bf16: bool


def read_cpu() -> CpuFeatures:
    """Returns the features of this machine's processor."""
    path = pathlib.Path("/proc/cpuinfo")  # Only Linux has it.
    return parse_cpuinfo(path.read_text() if path.exists() else "", num_cores())


def parse_cpuinfo(cpuinfo: str, cores: int) -> CpuFeatures:
    """Returns the features listed in the text of /proc/cpuinfo."""
    flags = cpuinfo.split()
    return CpuFeatures(
        cores, amx="amx_bf16" in flags, avx512_bf16="avx512_bf16" in flags
    )


def lower_bounds(network: str, cpu: CpuFeatures) -> dict[str, float]:
    """Returns the lower bound of each ratio; the large network has more of them."""
    if network == ONNX:
        return {"ratio_to_onnxruntime": 0.95}
    equal = {
        "ratio_to_stock_equal": 1.0,
        "ratio_to_ray_equal": 1.0,
        "ratio_processes_to_threads": 1.0,
    }
    if network == FREE:
        return {"ratio_to_bare_loop": 0.85, "ratio_to_float32_job": 1.0, **equal}
    installed = 3.0 if cpu.amx else 1.5
    bfloat16 = installed if cpu.amx or cpu.avx512_bf16 else 1.0
    return {
        "ratio_to_bare_loop": 0.95,
        "ratio_to_float32_job": bfloat16,
        **equal,
        "ratio_to_stock_installed": installed,
        "ratio_to_ray_installed": installed,
        "ratio_to_timm": 1.2,
    }


def ways(network: str) -> set[str]:
    """Returns the ways that are measured with a network."""
    bounds = lower_bounds(network, CpuFeatures(1, amx=False, avx512_bf16=False))
    return {OURS} | {way for ratio in bounds for way in COMPARED[ratio]}


def ratios(network: str, rounds: Rounds[str], cpu: CpuFeatures) -> list[Verdict]:
    """Returns the verdicts on the ratios of images per second."""
    verdicts = []
    for name, bound in lower_bounds(network, cpu).items():
        peer = rounds.best(COMPARED[name], SPEED)
        if peer is not None:
            ratio = rounds.ratio(OURS, peer, SPEED)
            verdicts.append(Verdict(name, ratio, at_least=bound))
    return verdicts
