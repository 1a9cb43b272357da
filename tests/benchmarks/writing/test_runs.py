import pytest

from benchmarks.measuring.process_watch import WatchedProcess
from benchmarks.writing import runs
from benchmarks.writing.inputs import WritingInputs
from stage import shard_list


@pytest.fixture
def inputs(tmp_path):
    return WritingInputs(str(tmp_path), 100)


def test_ours_is_the_bare_command_line(inputs):
    assert runs.write_command("ours", inputs, "out", 24)[1:] == [
        *("-m", "beam_jobs.write_records"),
        f"--images=tfrecord:{inputs.root}/images/*.tfrecord",
        f"--predictions={inputs.root}/predictions",
        f"--selection={inputs.root}/selection",
        "--num_shards=24",
        "--output=out",
    ]
    stock = runs.write_command("stock", inputs, "out", 24)
    assert stock[2] == "benchmarks.writing.beam_stock"
    assert stock[-2:] == ["--", "--direct_num_workers=1"]
    for way in ("ours_processes", "stock_processes"):
        command = runs.write_command(way, inputs, "out", 24)
        assert command[-1] == "--direct_running_mode=multi_processing"
        assert command.count("--") == 1


def test_the_pipeline_begins_with_the_list_of_shards(inputs, monkeypatch):
    def watch(command, has_begun):
        (flag,) = (word for word in command if word.startswith("--output="))
        output = runs.pathlib.Path(flag.partition("=")[2])
        output.mkdir()
        assert not has_begun()
        (output / shard_list.NAME).touch()
        assert has_begun()
        return WatchedProcess("", 0.0, 3.0, 5.0, 0.0, 2_000_000_000, {})

    monkeypatch.setattr(runs, "watch", watch)
    assert runs.measure("ours", inputs, num_shards=4) == {
        "images_per_second": 50.0,
        "start_seconds": 3.0,
        "peak_memory_gb": 2.0,
        "images_per_second_with_start": 20.0,
    }
