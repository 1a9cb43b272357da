import dataclasses
import json

import pytest

from benchmarks.labeling import runs
from benchmarks.labeling.goals import OURS
from benchmarks.labeling.task import LabelingTask
from benchmarks.measuring.process_watch import WatchedProcess, resident_bytes

TASK = LabelingTask(
    way=OURS,
    classifier="teacher",
    records="records",
    jpegs="jpegs",
    num_images=5,
    processes=2,
)
IN_ONE = dataclasses.replace(
    TASK, engine="openvino", dtype="bfloat16", processes=1, threads=2
)


def test_our_default_is_the_bare_command_line(tmp_path):
    assert runs.label_command(TASK, tmp_path)[1:] == [
        *("-m", "beam_jobs.label_images"),
        "--images=tfrecord:records/*.tfrecord",
        f"--output={tmp_path}",
        "--teacher=teacher",
    ]
    assert runs.label_command(IN_ONE, tmp_path)[-5:] == [
        "--engine=openvino",
        "--dtype=bfloat16",
        "--",
        "--direct_num_workers=1",
        "--direct_running_mode=in_memory",
    ]
    command = runs.label_command(IN_ONE, tmp_path, ["--model_handler=x"])
    assert "--model_handler=x" in command
    assert "--teacher=teacher" not in command


def watched(output=""):
    return WatchedProcess(
        output=output,
        started=100.0,
        start_seconds=2.0,
        seconds=9.0,
        cpu_seconds=9.0,
        peak_bytes=9_000_000,
        peak_bytes_by_depth={0: 9_000_000, 1: 6_000_000, 2: 5_000_000, 3: 4_000_000},
    )


@pytest.mark.parametrize(("task", "megabytes"), [(TASK, 5.0), (IN_ONE, 6.0)])
def test_ours_is_read_from_what_the_job_leaves(task, megabytes, monkeypatch):
    def watch(command, memory, has_begun):
        assert memory is resident_bytes
        (flag,) = (word for word in command if word.startswith("--output="))
        output = runs.pathlib.Path(flag.partition("=")[2])
        output.mkdir()
        (output / "COMPLETED").write_text(json.dumps({"images_per_second": 7.5}))
        facts = {"engine": "openvino", "dtype": "bfloat16"}
        (output / "config.json").write_text(json.dumps(facts))
        assert not has_begun()
        (output / ".predictions-00000").touch()
        assert has_begun()
        return watched()

    monkeypatch.setattr(runs, "watch", watch)
    assert runs.measure(task) == (
        {"images_per_second": 7.5, "start_seconds": 2.0, "worker_megabytes": megabytes},
        ("openvino", "bfloat16"),
    )


def test_a_peer_says_when_its_first_image_began(monkeypatch):
    output = json.dumps({"begin": 103.0, "images_per_second": 8.0})
    monkeypatch.setattr(runs, "watch", lambda command, memory: watched(output))
    found = runs.measure(dataclasses.replace(TASK, way="bare"))
    assert found == (
        {"images_per_second": 8.0, "start_seconds": 3.0, "worker_megabytes": 6.0},
        (None, None),
    )
