import json

import pytest

from benchmarks.labeling import bench, goals, inputs
from tests import commands


@pytest.mark.slow
def test_the_command_prints_every_figure(monkeypatch):
    monkeypatch.setattr(inputs, "NUM_JPEGS", 8)
    monkeypatch.setattr(bench, "FREE_SHARE", 1)
    monkeypatch.setattr(goals, "num_cores", lambda: 1)
    arguments = ("--networks=free", "--cases=bare_processes")
    ended = commands.call(
        "benchmarks.labeling", *arguments, "--images=100", "--rounds=1"
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    figures = json.loads(lines[-1])
    assert set(figures["machine"]) == {"cores", "amx", "avx512_bf16"}
    assert figures["models_loaded_per_process"] == 1
    free = figures[inputs.FREE]
    speeds = free["images_per_second"]
    assert set(speeds) == {"ours", "bare_processes"}
    ratio = speeds["ours"] / speeds["bare_processes"]
    assert free["ratio_to_bare_loop"] == pytest.approx(ratio, rel=0.02)
    (row,) = (line.split() for line in lines if line.startswith("ratio_to_bare_loop"))
    assert row[2:4] == [">=", "0.85"]
    assert row[4] in ("yes", "no")
    assert free["memory_ratio_10x"] > 0.5
    assert free["start_seconds"] > 1
    assert free["start_seconds_by_way"]["ours"] == free["start_seconds"]
    assert min(free["worker_megabytes"].values()) > 100
    assert free["bare_loop"] == "bare_processes"
    ((engine, dtype),) = free["engines"]
    assert engine in ("openvino", "tensorflow")
    assert dtype in ("bfloat16", "float32")
    assert free["timm"] is None


@pytest.mark.parametrize("flag", ["--cases=bare_processes,mine", "--networks=mine"])
def test_an_unknown_name_is_refused(flag):
    ended = commands.call("benchmarks.labeling", flag)
    assert ended.returncode == 1
    assert f"error: {flag.partition('=')[0]}: " in ended.stderr
    assert "'mine'" in ended.stderr
