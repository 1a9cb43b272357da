import json

import pytest

from benchmarks.writing import inputs
from tests import commands


@pytest.mark.slow
def test_the_command_prints_every_figure(made, monkeypatch):
    sizes = []

    def make_inputs(root, num_images, num_bytes):
        sizes.append((num_images, num_bytes))
        return made

    monkeypatch.setattr(inputs, "make_inputs", make_inputs)
    arguments = ("--images=100", "--bytes=12000", "--rounds=1", "--ways=stock")
    ended = commands.call("benchmarks.writing", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert sizes == [(10, 12_000), (100, 12_000)]
    lines = ended.stdout.splitlines()
    figures = json.loads(lines[-1])
    speeds = figures["images_per_second"]
    assert set(speeds) == set(figures["peak_memory_gb"]) == {"ours", "stock"}
    assert set(figures["start_seconds"]) == set(figures["rounds"]) == set(speeds)
    ratio = speeds["ours"] / speeds["stock"]
    assert figures["ratio_to_stock"] == pytest.approx(ratio, rel=0.02)
    for way, speed in figures["images_per_second_with_start"].items():
        assert 0 < speed < speeds[way]
    (row,) = (line for line in lines if line.startswith("memory_ratio_10x"))
    assert row.split()[1:4] == [f"{figures['memory_ratio_10x']:.3f}", "<=", "1.1"]


def test_an_unknown_way_is_refused():
    ended = commands.call("benchmarks.writing", "--ways=mine")
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: --ways: ")
    assert "'mine'" in ended.stderr
