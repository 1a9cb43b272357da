import json
import re

import pytest

from tests import commands


@pytest.mark.slow
def test_the_command_prints_every_figure(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Not the directory of the processes that are measured.
    ended = commands.call(
        "benchmarks.selection",
        "--rows=100000",
        "--top_rows=10000",
        "--classes=20",
        "--rounds=1",
        "--data_dir=kept",
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    figures = json.loads(lines[-1])
    assert figures["rows"] == 100_000
    table = figures["classes_20"]
    seconds = {(way, rows): seconds for way, rows, seconds, *_ in table["runs"]}
    ratio = seconds["scan", 100_000] / seconds["ours", 100_000]
    assert table["ratio_to_scan"] == pytest.approx(ratio, rel=0.05)
    assert table["ratio_to_top"] > 0
    (row,) = (line for line in lines if line.startswith("peak_memory_gb"))
    assert re.search(r"<= 1 +(yes|no)$", row)


def test_a_number_of_classes_must_be_positive():
    ended = commands.call("benchmarks.selection", "--classes=20,0")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: --classes: ")
    assert "'0'" in ended.stderr


def test_predictions_are_kept_in_a_directory(tmp_path):
    (tmp_path / "file").touch()
    ended = commands.call("benchmarks.selection", f"--data_dir={tmp_path}/file")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {tmp_path}/file: expected a directory")
