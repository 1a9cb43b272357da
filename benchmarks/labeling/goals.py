"""What labeling has to reach, against what: arithmetic and words, no measuring."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.labeling.inputs import FREE

OURS = "ours"
#: The bare loop's splits; the faster one is the yardstick.
BARE = ("bare_processes", "bare_threads")
#: By ratio: what is measured beside ours, one of several ways.
YARDSTICKS: dict[str, tuple[str, ...]] = {
    "ratio_to_bare_loop": BARE,
    "ratio_to_float32_job": ("float32_job",),
    "ratio_to_stock_equal": ("stock_equal",),
    "ratio_to_stock_installed": ("stock_installed",),
    "ratio_to_ray_equal": ("ray_equal",),
    "ratio_to_ray_installed": ("ray_installed",),
    "ratio_to_timm": ("timm",),
    "ratio_processes_to_threads": ("threads",),
}
MEMORY = "memory_ratio_10x"
START = "start_seconds"
LOADS = "models_loaded_per_process"
#: Of what is to be small.
AT_MOST = {MEMORY: 1.1, START: 12.0, LOADS: 1.0}


@dataclasses.dataclass(frozen=True)
class Machine:
    """What decides what may be expected.

    Attributes:
        cores: That may be used.
        amx: Whether tiles are multiplied in bfloat16.
        avx512_bf16: Whether vectors are.
    """

    cores: int
    amx: bool
    avx512_bf16: bool


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A figure beside its goal.

    Attributes:
        name: Of the figure.
        figure: What was reached.
        goal: What was to be reached.
    """

    name: str
    figure: float
    goal: float

    @property
    def is_met(self) -> bool:
        """Whether it is."""
        if self.name in AT_MOST:
            return self.figure <= self.goal
        return self.figure >= self.goal

    def line(self) -> str:
        """Returns a row of a table."""
        sign = "<=" if self.name in AT_MOST else ">="
        answer = "yes" if self.is_met else "no"
        return f"{self.name:28}{self.figure:8.3f}   {sign} {self.goal:<6.4g} {answer}"


def parse_machine(cpuinfo: str, cores: int) -> Machine:
    """Returns the machine that /proc/cpuinfo describes."""
    lines = (line for line in cpuinfo.splitlines() if line.startswith("flags"))
    flags = next(lines, "").split()
    return Machine(cores, amx="amx_bf16" in flags, avx512_bf16="avx512_bf16" in flags)


def goals(network: str, machine: Machine) -> dict[str, float]:
    """Returns what each ratio is to be at the least.

    What a precision gains is asked of the large network alone.
    """
    equal = {
        "ratio_to_stock_equal": 1.0,
        "ratio_to_ray_equal": 1.0,
        "ratio_processes_to_threads": 1.0,
    }
    if network == FREE:
        return {"ratio_to_bare_loop": 0.85, "ratio_to_float32_job": 1.0, **equal}
    installed = 3.0 if machine.amx else 1.5
    gained = installed if machine.amx or machine.avx512_bf16 else 1.0
    return {
        "ratio_to_bare_loop": 0.95,
        "ratio_to_float32_job": gained,
        **equal,
        "ratio_to_stock_installed": installed,
        "ratio_to_ray_installed": installed,
        "ratio_to_timm": 1.2,
    }


def ways(network: str) -> set[str]:
    """Returns the ways that a network is measured with."""
    wanted = goals(network, Machine(1, amx=False, avx512_bf16=False))
    return {OURS} | {way for ratio in wanted for way in YARDSTICKS[ratio]}


def ratios(
    network: str, speeds: Mapping[str, Sequence[float]], machine: Machine
) -> list[Verdict]:
    """Returns the verdicts on what was measured.

    Args:
        network: That was run.
        speeds: Images a second by way, round by round.
        machine: Where.
    """
    verdicts = []
    for name, goal in goals(network, machine).items():
        other = fastest(YARDSTICKS[name], speeds)
        if other is not None:
            figure = median_ratio(speeds[OURS], speeds[other])
            verdicts.append(Verdict(name, figure, goal))
    return verdicts


def fastest(names: Sequence[str], speeds: Mapping[str, Sequence[float]]) -> str | None:
    """Returns the one with the highest median, None if none was measured."""
    measured = [name for name in names if name in speeds]
    return max(measured, key=lambda name: statistics.median(speeds[name]), default=None)


def median_ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Returns the median of the rounds' ratios."""
    pairs = zip(ours, others, strict=True)
    return round(statistics.median(one / other for one, other in pairs), 3)


def at_most(name: str, figure: float) -> Verdict:
    """Returns the verdict on what is to be small."""
    return Verdict(name, round(figure, 3), AT_MOST[name])
