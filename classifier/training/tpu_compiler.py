"""Compiles the training step with libtpu's compiler on a machine without a TPU."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from classifier.training.config import TrainConfig

#: Environment variables that libtpu needs where there is no TPU to ask.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_LOG_DIR": "disabled",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
#: Chips whose two cores appear as one to programs.
MEGACORE_CHIPS = ("v4", "v5p")
#: Without its most expensive searches the compiler takes a third of the time; FLOPs and
#: all-reduces are the same, memory grows by 1 to 2 %.
COMPILER_OPTIONS = {"exec_time_optimization_effort": -1.0}
NUM_CLASSES = 1000
#: Batch sizes are multiples of a chip's 8 sublanes.
BATCH_MULTIPLE = 8
#: Share of the memory above which the compiler begins to recompute values.
RECOMPUTE_SHARE = 0.9
#: Relative tolerance of the search for the largest batch.
TOLERANCE = 1 / 16

_ALL_REDUCE = re.compile(
    r"^\s*(?:ROOT )?%?[\w.-]+ = (.*?) all-reduce(?:-start)?\(", re.MULTILINE
)
_ARRAY = re.compile(r"\b([a-z]+\d+)\[([\d,]*)\]")
#: Annotations of shapes: positions in a tuple, and memory layouts of arrays.
_ANNOTATIONS = re.compile(r"/\*.*?\*/|\{[^{}]*\}")
_RECOMPUTED = re.compile(r"^\s*(?:ROOT )?%\S*\.remat\S* = ", re.MULTILINE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepReport:
    """Costs of a compiled step on one chip.

    Attributes:
        peak_bytes: Peak memory in bytes.
        flops: Floating-point operations.
        all_reduces: Number of all-reduces.
        bytes_by_type: Bytes that the all-reduces sum, by XLA's element type.
        recomputed: Number of operations done twice to save memory.
    """

    peak_bytes: int
    flops: float
    all_reduces: int
    bytes_by_type: dict[str, int]
    recomputed: int


class TooLargeError(Exception):
    """A program needs more memory than a chip has; the compiler's message."""


def count_all_reduces(text: str) -> tuple[int, dict[str, int]]:
    """Returns the number of all-reduces in XLA's text, and their bytes by type.

    An asynchronous all-reduce counts once, by its start.
    """
    bytes_by_type: dict[str, int] = {}
    all_reduces = _ALL_REDUCE.findall(text)
    for shapes in all_reduces:
        for kind, sizes in _ARRAY.findall(_ANNOTATIONS.sub("", shapes)):
            width = int(re.sub("[a-z]", "", kind)) // 8
            size = width * math.prod(map(int, filter(None, sizes.split(","))))
            bytes_by_type[kind] = bytes_by_type.get(kind, 0) + size
    return len(all_reduces), bytes_by_type


def parse_available(message: str) -> int | None:
    """Returns a chip's memory in bytes from the compiler's message; None without it."""
    match = re.search(r"available \w+ \(([\d.]+)([KMGT])\)", message)
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** (1 + "KMGT".index(match[2])))


def largest_batches(
    compile_at: Callable[[int], StepReport | None], too_large: int, available: int
) -> tuple[int, int, int]:
    """Searches for the largest batch that fits on a chip.

    Memory grows linearly with the batch until the compiler begins to recompute values
    instead of keeping them; then far larger batches fit, ever more slowly.

    Args:
        compile_at: Maps a batch size to the compiler's report; None if too large.
        too_large: A batch that does not fit.
        available: Memory of a chip in bytes.

    Returns:
        The largest batch without recomputation, the largest batch that fits, and the
        smallest batch tried that does not fit; 0 where there is none.
    """
    small = _rounded(too_large // 16)
    low, high = compile_at(small), compile_at(2 * small)
    if low is None:
        if small == BATCH_MULTIPLE:
            return 0, 0, small
        return largest_batches(compile_at, small, available)
    if high is None:
        return small, small, 2 * small
    slope = (high.peak_bytes - low.peak_bytes) / small
    room = RECOMPUTE_SHARE * available - low.peak_bytes
    kept = min(_rounded(small + room / slope), too_large - BATCH_MULTIPLE)
    fits = 2 * small
    while kept > 2 * small:
        report = compile_at(kept)
        if report is None:
            too_large = kept
        else:
            fits = max(fits, kept)
            if report.recomputed == 0:
                break
        kept = _rounded(kept * (1 - TOLERANCE))
    while too_large - fits > max(BATCH_MULTIPLE, TOLERANCE * fits):
        middle = _rounded((fits + too_large) / 2)
        if compile_at(middle) is None:
            too_large = middle
        else:
            fits = middle
    return max(kept, 2 * small), fits, too_large


def _rounded(batch_size: float) -> int:
    return max(BATCH_MULTIPLE, int(batch_size) // BATCH_MULTIPLE * BATCH_MULTIPLE)


def describe_chips(topology: str) -> list[Any]:
    """Returns the chips of a topology such as "v5e:2x2" as JAX devices.

    Raises:
        ValueError: If libtpu is not installed, or does not know the topology.
    """
    from jax.experimental import topologies

    has_megacore = topology.split(":")[0] in MEGACORE_CHIPS
    options = {"chip_config_name": "megacore"} if has_megacore else {}
    try:
        return topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **options
        ).devices
    except RuntimeError as error:
        hint = "; make tpu-compile installs it" if "not installed" in str(error) else ""
        raise ValueError(f"--topology={topology}: {error}{hint}") from error


def step_compiler(recipe: TrainConfig, chips: list[Any]) -> Callable[[int], StepReport]:
    """Returns the function from the batch size per chip to the compiler's report."""
    from classifier.models import factory
    from classifier.training import backend_jax

    layout = backend_jax.layout_on(chips)
    model = factory.build_network(
        recipe.model,
        image_size=recipe.image.size,
        num_classes=NUM_CLASSES,
        dtype=recipe.dtype,
    )

    def compile_at(batch_size: int) -> StepReport:
        config = dataclasses.replace(recipe, global_batch_size=batch_size * len(chips))
        step = backend_jax.jit_train_step(model, config, layout)
        compiled = _compile(step.lower(*backend_jax.shapes(model, config, layout)))
        text = compiled.as_text()
        all_reduces, bytes_by_type = count_all_reduces(text)
        return StepReport(
            peak_bytes=compiled.memory_analysis().peak_memory_in_bytes,
            flops=compiled.cost_analysis()["flops"],
            all_reduces=all_reduces,
            bytes_by_type=bytes_by_type,
            recomputed=len(_RECOMPUTED.findall(text)),
        )

    return compile_at


def _compile(lowered: Any) -> Any:
    try:
        return lowered.compile(compiler_options=COMPILER_OPTIONS)
    except RuntimeError as error:
        message = " ".join(str(error).split())
        if not message.startswith("RESOURCE_EXHAUSTED"):
            raise
        raise TooLargeError(message) from error


def chip_memory(chips: list[Any]) -> int:
    """Returns a chip's memory in bytes, from the error of a program that cannot fit."""
    import jax
    from jax import numpy as jnp

    from classifier.training import backend_jax

    layout = backend_jax.layout_on(chips)
    terabyte = (2**19, 2**19)

    def sort(scale: Any) -> Any:
        numbers = jax.lax.broadcasted_iota(jnp.float32, terabyte, 0)
        return jnp.sort(numbers * scale, axis=0).sum()

    scale = jax.ShapeDtypeStruct((), jnp.float32, sharding=layout.replicated)
    try:
        _compile(jax.jit(sort).lower(scale))
    except TooLargeError as error:
        available = parse_available(str(error))
        if available is not None:
            return available
    raise RuntimeError("expected the compiler to report a chip's memory, it did not")
