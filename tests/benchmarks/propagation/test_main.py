import json
import re

import pytest

from tests import commands

FIGURES = {"seconds", "cpu_seconds", "peak_gb", "accuracy", "teacher", "reached"}


@pytest.mark.slow
def test_the_command_prints_every_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Not the directory of the processes that are measured.
    ended = commands.call(
        "benchmarks.propagation",
        "--sizes=300,12000",
        "--exactness_images=500",
        "--agreement_images=12000",
        *("--features=64", "--classes=4", "--labeled=100", "--seed=1"),
        "--data_dir=kept",
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    figures = json.loads(lines[-1])
    assert figures["same_class"] > 0.99
    assert 0 < figures["difference_millionths"] < 100
    assert 0.8 < figures["cells_same_class"] < 1
    assert abs(figures["cells_accuracy_loss"]) < 0.2
    assert set(figures["sizes"]) == {"300", "12000"}
    for size in figures["sizes"].values():
        assert set(size) == FIGURES
        assert 0 < size["accuracy"] < 1
    assert figures["peak_gb"] == figures["sizes"]["12000"]["peak_gb"] > 0.1
    (row,) = (line for line in lines if line.startswith("same_class"))
    assert re.search(r">= 0.999 +yes$", row)
    assert any(line.startswith("12,000 images") for line in lines)


def test_sizes_must_be_positive():
    ended = commands.call("benchmarks.propagation", "--sizes=20,0")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: --sizes: ")
    assert "'0'" in ended.stderr


def test_predictions_are_kept_in_a_directory(tmp_path):
    (tmp_path / "file").touch()
    ended = commands.call("benchmarks.propagation", f"--data_dir={tmp_path}/file")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {tmp_path}/file: expected a directory")


def test_too_few_images_for_cells_are_refused():
    ended = commands.call("benchmarks.propagation", "--agreement_images=3")
    assert ended.returncode == 1
    assert (
        ended.stderr == "error: --agreement_images: expected 0, or 4 or more, got 3\n"
    )
