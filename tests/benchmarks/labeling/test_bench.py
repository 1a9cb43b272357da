import dataclasses
import json

import pytest

from benchmarks.labeling import beam_stock, goals, inputs
from benchmarks.labeling import bench as labeling_bench
from benchmarks.labeling.bench import LabelingBench
from benchmarks.labeling.task import LabelingTask


@pytest.fixture
def exported_networks(monkeypatch):
    """Names, directories and images of the networks; none is really made."""
    made = []
    monkeypatch.setattr(inputs, "write_jpegs", lambda path: [b"jpeg"])
    monkeypatch.setattr(inputs, "export_network", lambda *args: made.append(args))
    return made


@pytest.mark.parametrize(
    ("num_images", "share", "shards", "size"),
    [(2000, 1, 2, 1000), (2000, 0.5, 2, 500), (300, 0.1, 2, 15), (8000, 1, 8, 1000)],
)
def test_a_share_of_the_images_is_dealt_evenly(
    num_images, share, shards, size, tmp_path, exported_networks
):
    bench = LabelingBench(tmp_path, cores=2, images=num_images)
    task = bench.task(inputs.RESNET, share)
    assert task.num_images == shards * size
    assert len(task.record_files()) == shards
    assert exported_networks == [(inputs.RESNET, tmp_path / inputs.RESNET, [b"jpeg"])]


def test_the_free_network_gets_more_images(tmp_path, exported_networks):
    bench = LabelingBench(tmp_path, cores=2, images=250)
    assert bench.task(inputs.FREE).num_images == 8 * 250


def test_at_an_equal_engine_everybody_has_that_of_ours(tmp_path, exported_networks):
    bench = LabelingBench(tmp_path, cores=2, images=2000)
    tasks = bench.tasks(inputs.RESNET, ("openvino", "bfloat16"))
    assert set(tasks) == {goals.OURS, *goals.CASES}
    equal = {"threads", "bare_processes", "bare_threads", "stock_equal", "ray_equal"}
    equal |= {*goals.ONNX_RUNTIME}
    engines = {name: (task.engine, task.dtype) for name, task in tasks.items()}
    assert {engines.pop(name) for name in equal} == {("openvino", "bfloat16")}
    assert engines.pop("float32_job") == ("tensorflow", "float32")
    assert engines.pop(goals.OURS) == ("openvino", "bfloat16")
    assert set(engines.values()) == {(None, None)}
    # All of them have all cores.
    every = [*tasks.values(), *bench.timm_settings(inputs.RESNET)]
    assert {task.processes * task.threads for task in every} == {2}


def test_loads_are_counted_by_a_handler_of_the_users_own(
    tmp_path, exported_networks, monkeypatch
):
    def watch(command):
        flags = dict(word.split("=", 1) for word in command if word.startswith("--"))
        module, name, path = flags["--model_handler"].split(":")
        assert (module, name) == ("benchmarks.labeling.beam_stock", "read_handler")
        names = tmp_path / flags["--class_names"]
        assert len(names.read_text().splitlines()) == inputs.NUM_CLASSES
        assert flags["--images"].endswith("records-many/*.tfrecord")
        directory, task = json.loads((tmp_path / path).read_text())
        (tmp_path / directory / "7.loads").write_text("1\n1\n")
        (tmp_path / directory / "8.loads").write_text("1\n")
        handler = beam_stock.read_handler(path)
        assert handler.get_num_bytes([b"abc", b"de"]) == 5
        assert dataclasses.asdict(LabelingTask(**task))["processes"] == 2

    monkeypatch.setattr(labeling_bench, "watch", watch)
    bench = LabelingBench(tmp_path, cores=2, images=250)
    assert bench.count_loads(inputs.FREE) == 2
