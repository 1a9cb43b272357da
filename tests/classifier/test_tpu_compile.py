import importlib.util
import os
import re
import types

import pytest

from classifier.training import devices, tpu_compiler
from classifier.training.tpu_compiler import StepReport, TooLargeError
from tests import commands

#: Images per chip that fit the made-up chip.
LARGEST = 64


@pytest.fixture
def made_up_chips(monkeypatch):
    """Chips of 16 GB, and a compiler of a network that needs 250 MB per image."""

    def compile_at(batch_size):
        if batch_size > LARGEST:
            raise TooLargeError("RESOURCE_EXHAUSTED")
        return StepReport(
            peak_bytes=batch_size * 250_000_000,
            flops=4e12,
            all_reduces=5,
            bytes_by_type={"bf16": 6_000_000, "f32": 1_000_000},
            recomputed=0,
        )

    chip = types.SimpleNamespace(device_kind="TPU v9")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(devices, "open_devices", lambda backend: None)
    monkeypatch.setattr(tpu_compiler, "describe_chips", lambda topology: [chip] * 4)
    monkeypatch.setattr(tpu_compiler, "chip_memory", lambda chips: 16_000_000_000)
    monkeypatch.setattr(tpu_compiler, "step_compiler", lambda *arguments: compile_at)


def compile_tiny(*flags):
    return commands.call(
        "classifier.tpu_compile", "--preset=tiny", "--topology=v9:2x2", *flags
    )


def test_the_costs_of_a_step_are_printed(made_up_chips):
    process = compile_tiny("--per_chip_batch_size=8")
    assert process.returncode == 0, process.stderr
    title, memory, flops, reduces, _ = process.stdout.splitlines()
    assert "4 x TPU v9" in title
    assert "2.00 of 16.00 GB" in memory
    assert "4.000 T" in flops
    assert "500.00 G per image" in flops
    assert "5 per step, of 7.0 MB (bf16 6.0, f32 1.0)" in reduces


def test_a_batch_too_large_ends_with_status_1_and_the_largest(made_up_chips):
    process = compile_tiny("--per_chip_batch_size=256")
    assert process.returncode == 1
    assert f" {LARGEST} images per chip" in process.stdout.splitlines()[-1]


def test_every_recipe_is_compiled_for_every_chip(made_up_chips):
    process = compile_tiny(
        "--preset=resnet_rs_50_160", "--topology=v8:1x1", "--per_chip_batch_size=8"
    )
    assert process.returncode == 0, process.stderr
    titles = [line for line in process.stdout.splitlines() if line[0] != " "]
    pairs = [(line.split(",")[0], line.split(", ")[3].split()[0]) for line in titles]
    names = ("tiny", "resnet_rs_50_160")
    assert pairs == [(name, chip) for chip in ("v9:2x2", "v8:1x1") for name in names]


@pytest.mark.slow
@pytest.mark.skipif(
    "TPU_LIBRARY_PATH" not in os.environ, reason="`make tpu-compile` installs libtpu"
)
def test_a_small_step_compiles_for_a_tpu():
    output = commands.run(
        "classifier.tpu_compile",
        "--preset=tiny",
        "--topology=v5e:2x2",
        "--per_chip_batch_size=16",
    )
    assert "4 x TPU v5 lite" in output
    assert re.search(r"all-reduces  \d+ per step", output)


@pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is not None, reason="libtpu is installed"
)
def test_without_libtpu_the_target_that_installs_it_is_named(monkeypatch):
    monkeypatch.delitem(commands.ENVIRONMENT, "TPU_LIBRARY_PATH", raising=False)
    process = commands.start("classifier.tpu_compile")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert output.startswith("error: --topology=v5e:2x2: ")
    assert "make tpu-compile" in output.splitlines()[-1]
