r"""Compiles the training step for TPUs, on a machine without any, to see if it fits.

  python -m classifier.tpu_compile --preset=resnet_rs_152_224 --topology=v5e:2x2 \
      --per_chip_batch_size=128

The compiler is the real one, from the libtpu package; the chips are only named. `make
tpu-compile` installs the package outside the environment, because JAX would fail to
start on a machine without TPUs, and compiles two networks for two kinds of chips. The
command prints memory per chip, floating-point operations and all-reduces. If a batch is
too large, it prints the largest that fits and exits with status 1.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from classifier.training import devices, presets, tpu_compiler
from classifier.training.config import TrainConfig
from classifier.training.tpu_compiler import StepReport, TooLargeError
from stage import cli
from stage.flags import CommandFlags
from stage.overrides import override_all

FLAGS = CommandFlags()
_PRESET = FLAGS.strings(
    "preset", ["resnet_rs_50_160", "resnet_rs_152_224"], "Recipes to compile"
)
_TOPOLOGY = FLAGS.strings(
    "topology", ["v5e:2x2", "v4:2x2x1"], "Chips to compile for, in libtpu's notation"
)
_BATCH = FLAGS.integer(
    "per_chip_batch_size", 128, "Images per step and chip.", lower_bound=1
)
_SET = FLAGS.set("model.batch_norm_groups=4")


def main(argv: Sequence[str]) -> None:
    """Compiles every recipe for every kind of chip."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        recipes = {name: _recipe(name) for name in _PRESET.value}
        os.environ.update(tpu_compiler.ENVIRONMENT)
        devices.open_devices("jax")
        chips = {name: tpu_compiler.describe_chips(name) for name in _TOPOLOGY.value}
    num_too_large = sum(
        _compile_and_log(recipe, name, chips[topology], topology)
        for topology in chips
        for name, recipe in recipes.items()
    )
    sys.exit(min(num_too_large, 1))


def _recipe(name: str) -> TrainConfig:
    config = dataclasses.replace(presets.find(name), dtype="bfloat16")
    return override_all(config, _SET.value)


def _compile_and_log(
    recipe: TrainConfig, name: str, chips: list[Any], topology: str
) -> bool:
    """Returns whether the batch is too large."""
    compile_at = tpu_compiler.step_compiler(recipe, chips)
    batch_size = _BATCH.value
    cli.log(
        f"{name}, {recipe.dtype}, {batch_size} images per chip, {topology} "
        f"({len(chips)} x {chips[0].device_kind})"
    )
    available = tpu_compiler.chip_memory(chips)
    started = time.monotonic()
    try:
        report = compile_at(batch_size)
    except TooLargeError as error:
        comfortable, fits, too_large = tpu_compiler.largest_batches(
            functools.partial(_or_none, compile_at), batch_size, available
        )
        cli.log(
            f"  too large: {error} The largest batch that fits is {fits} images per "
            f"chip ({too_large} do not fit); up to {comfortable} nothing is computed "
            "twice to save memory"
        )
        return True
    cli.log(_format_report(report, batch_size=batch_size, available=available))
    cli.log(f"  compiled in  {time.monotonic() - started:.0f} s")
    return False


def _format_report(report: StepReport, *, batch_size: int, available: int) -> str:
    megabytes = {kind: n / 1e6 for kind, n in report.bytes_by_type.items()}
    by_type = ", ".join(f"{kind} {size:.1f}" for kind, size in megabytes.items())
    twice = f", {report.recomputed} operations twice" if report.recomputed else ""
    return (
        f"  memory       {report.peak_bytes / 1e9:.2f} of {available / 1e9:.2f} GB per "
        f"chip\n"
        f"  FLOPs        {report.flops / 1e12:.3f} T per step and chip, "
        f"{report.flops / batch_size / 1e9:.2f} G per image{twice}\n"
        f"  all-reduces  {report.all_reduces} per step, of "
        f"{sum(megabytes.values()):.1f} MB ({by_type})"
    )


def _or_none(
    compile_at: Callable[[int], StepReport], batch_size: int
) -> StepReport | None:
    cli.log(f"  trying {batch_size} images per chip")
    try:
        return compile_at(batch_size)
    except TooLargeError:
        return None


if __name__ == "__main__":
    cli.run(main, FLAGS)
