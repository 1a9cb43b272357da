"""The TPU compiler on a machine that has no TPU: what it makes of a training step.

libtpu's compiler, to which a name stands for chips that are not there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from classifier.training.config import TrainConfig

#: What libtpu asks of its surroundings, where there is no TPU to ask.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_LOG_DIR": "disabled",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
#: Of the two cores of these chips, programs see one.
MEGACORE_CHIPS = ("v4", "v5p")
#: Without its dearest searches the compiler takes a third of the time, and finds a
#: program of the same FLOPs and all-reduces, and 1 to 2 % more memory.
COMPILER_OPTIONS = {"exec_time_optimization_effort": -1.0}
NUM_CLASSES = 1000
#: Batches are best multiples of the chips' 8 sublanes.
BATCH_MULTIPLE = 8
#: Above this share of the memory the compiler begins to compute things twice.
COMFORTABLE_SHARE = 0.9
#: The largest batch is looked for to this share of itself.
SEARCH_PRECISION = 1 / 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What the compiler made of a step; all figures are one chip's.

    Attributes:
        peak_bytes: Memory used at most.
        flops: Floating-point operations of a step.
        all_reduces: How many there are.
        bytes_by_type: What they sum up, by the type of the numbers.
        recomputed: Operations that are done again to save memory.
    """

    peak_bytes: int
    flops: float
    all_reduces: int
    bytes_by_type: dict[str, int]
    recomputed: int


class TooLargeError(Exception):
    """A program does not fit, in the compiler's words."""


def count_all_reduces(text: str) -> tuple[int, dict[str, int]]:
    """Returns how many a compiled program has, and their bytes by type.

    Args:
        text: The program as XLA prints it. Of an asynchronous one, the start counts.
    """
    bytes_by_type: dict[str, int] = {}
    found = _ALL_REDUCE.findall(text)
    for shapes in found:
        for kind, sizes in _ARRAY.findall(_REMARKS.sub("", shapes)):
            size = int(re.sub("[a-z]", "", kind)) // 8
            for dimension in filter(None, sizes.split(",")):
                size *= int(dimension)
            bytes_by_type[kind] = bytes_by_type.get(kind, 0) + size
    return len(found), bytes_by_type


_ALL_REDUCE = re.compile(
    r"^\s*(?:ROOT )?%?[\w.-]+ = (.*?) all-reduce(?:-start)?\(", re.MULTILINE
)
_ARRAY = re.compile(r"\b([a-z]+\d+)\[([\d,]*)\]")
#: Positions in a tuple, and how an array lies in memory.
_REMARKS = re.compile(r"/\*.*?\*/|\{[^{}]*\}")
_RECOMPUTED = re.compile(r"^\s*(?:ROOT )?%\S*\.remat\S* = ", re.MULTILINE)


def parse_available(message: str) -> int | None:
    """Returns a chip's memory in bytes out of the compiler's words, if it is there."""
    match = re.search(r"available \w+ \(([\d.]+)([KMGT])\)", message)
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** (1 + "KMGT".index(match[2])))


def largest_batches(
    compile_at: Callable[[int], Report | None], too_large: int, available: int
) -> tuple[int, int, int]:
    """Looks for the largest batch of a chip that fits.

    Memory grows in proportion to the batch until the compiler begins to compute things
    twice rather than keep them; with that it fits far more, ever more slowly.

    Args:
        compile_at: From a batch size to the compiler's report; None if it is too large.
        too_large: A batch that does not fit.
        available: Memory of a chip in bytes.

    Returns:
        The largest batch for which nothing is computed twice; the largest that fits;
        and the smallest that was seen not to fit. 0 where there is none.
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
    room = COMFORTABLE_SHARE * available - low.peak_bytes
    comfortable = min(_rounded(small + room / slope), too_large - BATCH_MULTIPLE)
    fits = 2 * small
    while comfortable > 2 * small:
        report = compile_at(comfortable)
        if report is not None:
            fits = max(fits, comfortable)
            if report.recomputed == 0:
                break
        else:
            too_large = comfortable
        comfortable = _rounded(comfortable * (1 - SEARCH_PRECISION))
    while too_large - fits > max(BATCH_MULTIPLE, SEARCH_PRECISION * fits):
        middle = _rounded((fits + too_large) / 2)
        if compile_at(middle) is None:
            too_large = middle
        else:
            fits = middle
    return max(comfortable, 2 * small), fits, too_large


def _rounded(batch_size: float) -> int:
    return max(BATCH_MULTIPLE, int(batch_size) // BATCH_MULTIPLE * BATCH_MULTIPLE)


def describe_chips(topology: str) -> list[Any]:
    """Returns the chips that a name as in "v5e:2x2" stands for, as JAX's devices.

    Raises:
        ValueError: If libtpu is not there, or knows no such chips.
    """
    from jax.experimental import topologies

    options = {}
    if topology.split(":")[0] in MEGACORE_CHIPS:
        options["chip_config_name"] = "megacore"
    try:
        return topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **options
        ).devices
    except RuntimeError as error:
        hint = "; make tpu-compile installs it" if "not installed" in str(error) else ""
        raise ValueError(f"--topology={topology}: {error}{hint}") from error


def compiler(recipe: TrainConfig, chips: list[Any]) -> Callable[[int], Report]:
    """Returns the function from a chip's batch size to the compiler's report."""
    from classifier.models import factory
    from classifier.training import backend_jax

    layout = backend_jax.layout_on(chips)
    model = factory.build_network(
        recipe.model,
        image_size=recipe.image.size,
        num_classes=NUM_CLASSES,
        dtype=recipe.dtype,
    )

    def compile_at(batch_size: int) -> Report:
        config = dataclasses.replace(recipe, global_batch_size=batch_size * len(chips))
        step = backend_jax.jit_train_step(model, config, layout)
        compiled = _compile(step.lower(*backend_jax.shapes(model, config, layout)))
        text = compiled.as_text()
        all_reduces, bytes_by_type = count_all_reduces(text)
        return Report(
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


def memory_of(chips: list[Any]) -> int:
    """Returns a chip's memory in bytes: the compiler tells it of what cannot fit."""
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
    raise RuntimeError("the compiler does not tell how much memory a chip has")
