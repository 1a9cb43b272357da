import io
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.writing import goals, inputs, runs
from benchmarks.writing.goals import Verdict
from benchmarks.writing.runs import Run
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from pseudo_label.predictions import prediction_set
from pseudo_label.selection.decision import open_selection
from tests import commands


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus of two files, the second of them nearly empty."""
    root = tmp_path_factory.mktemp("inputs") / "small"
    return inputs.make_inputs(root, inputs.SHARD_SIZE + 7, 12_000)


def test_images_are_different_photographs_of_one_size(made):
    source = open_source(made.images)
    examples = list(read_files(source.reader, source.files).as_numpy_iterator())
    images = [example["image"] for example in examples]
    assert len(set(images)) == len(images) == 1007
    assert {len(image) for image in images} == {12_000}
    for image in (images[0], images[-1]):
        assert tf.io.decode_image(image).shape == (96, 128, 3)
        assert Image.open(io.BytesIO(image)).format == "JPEG"


def test_an_image_cannot_be_made_smaller():
    (jpeg,) = inputs.make_jpegs(np.random.default_rng(0), 1)
    assert len(inputs.pad(jpeg, 3, len(jpeg) + 8)) == len(jpeg) + 8
    with pytest.raises(ValueError, match=r"expected images of at least \d,\d+ bytes"):
        inputs.pad(jpeg, 3, len(jpeg) + 7)


def test_nearly_all_images_are_selected(made):
    predictions = prediction_set.open_predictions(made.predictions)
    funnel = open_selection(made.selection, predictions).funnel
    assert funnel.read == predictions.num_images == 1007
    assert 0.6 * 1007 < funnel.unique_kept < funnel.read
    assert funnel.records >= funnel.unique_kept


@pytest.mark.slow
def test_stock_writes_the_records_that_ours_writes(made, tmp_path):
    contents = []
    for way in ("ours", "stock"):
        command = runs.write_command(way, made, str(tmp_path / way), 4)
        commands.run(*command[2:])
        files = sorted(map(str, (tmp_path / way).glob("pseudo_labels*")))
        records = tf.data.TFRecordDataset(files).as_numpy_iterator()
        contents.append(sorted(records))
        assert len(files) == 4
    assert contents[0] == contents[1]


def test_ours_is_the_bare_command_line(made):
    assert runs.write_command("ours", made, "out", 24)[1:] == [
        *("-m", "beam_jobs.write_records"),
        f"--images={made.images}",
        f"--predictions={made.predictions}",
        f"--selection={made.selection}",
        "--num_shards=24",
        "--output=out",
    ]
    stock = runs.write_command("stock", made, "out", 24)
    assert stock[2] == "benchmarks.writing.beam_stock"
    assert stock[-2:] == ["--", "--direct_num_workers=1"]
    for way in ("ours_processes", "stock_processes"):
        command = runs.write_command(way, made, "out", 24)
        assert command[-1] == "--direct_running_mode=multi_processing"


def test_memory_of_all_processes_counts():
    hold = "held = b'x' * 100_000_000; import time; time.sleep(1.5)"
    start = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {hold!r}])"
    )
    watched = runs.watch([sys.executable, "-c", f"{start}; {hold}"])
    assert 200 < watched.megabytes < 260
    assert watched.start_seconds == 0
    assert watched.seconds > 1.5


def test_the_moment_when_the_work_begins_is_seen(tmp_path):
    program = (
        "import pathlib, sys, time; time.sleep(0.5); pathlib.Path(sys.argv[1]).touch();"
        "time.sleep(0.5)"
    )
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", program, str(mark)]
    watched = runs.watch(command, has_begun=mark.exists)
    assert 0.5 < watched.start_seconds < watched.seconds - 0.2


def test_a_command_that_fails_is_told():
    with pytest.raises(RuntimeError, match=r"(?s)failed:.*no such thing"):
        runs.watch([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_verdicts_are_beside_the_better_of_stock():
    rounds = {
        "ours": [
            Run(100.0, 5.0, 500.0, 38.0),
            Run(90.0, 5.0, 510.0, 38.0),
            Run(110.0, 5.0, 490.0, 38.0),
        ],
        "stock": [
            Run(40.0, 5.0, 6000.0, 20.0),
            Run(45.0, 5.0, 6000.0, 22.5),
            Run(50.0, 5.0, 6000.0, 25.0),
        ],
        "stock_processes": [Run(30.0, 5.0, 9000.0, 15.0)] * 3,
    }
    small = [Run(10.0, 5.0, 480.0, 5.0)]
    assert list(goals.judge(rounds, small)) == [
        Verdict("ratio_to_stock", 2.2, 2.0, is_least=True),
        Verdict("ratio_with_start", 1.689, 2.0, is_least=True),
        Verdict("memory_ratio_to_stock", 0.083, 0.2, is_least=False),
        Verdict("memory_ratio_10x", 1.042, 1.1, is_least=False),
    ]
    del rounds["stock"], rounds["stock_processes"]
    assert [one.name for one in goals.judge(rounds, small)] == ["memory_ratio_10x"]


def test_a_verdict_says_on_which_side_of_the_goal_it_is():
    speed = Verdict("ratio_to_stock", 1.99, 2.0, is_least=True)
    assert speed.line().split() == ["ratio_to_stock", "1.990", ">=", "2", "no"]
    memory = Verdict("memory_ratio_to_stock", 0.2, 0.2, is_least=False)
    assert memory.line().split()[-3:] == ["<=", "0.2", "yes"]


def test_the_table_and_the_figures_name_every_way():
    rounds = {
        "ours": [Run(100.0, 5.0, 500.0, 50.0)],
        "stock": [Run(40.0, 6.0, 6000.0, 20.0)],
    }
    verdicts = list(goals.judge(rounds, [Run(10.0, 5.0, 480.0, 5.0)]))
    lines = list(goals.tell(rounds, verdicts))
    assert lines[1].split() == ["ours", "100.0", "5.0", "500", "50.0"]
    assert lines[2].split() == ["stock", "40.0", "6.0", "6000", "20.0"]
    found = json.loads(json.dumps(goals.figures(rounds, verdicts)))
    assert found["images_per_second"] == {"ours": 100.0, "stock": 40.0}
    assert found["peak_memory_gb"] == {"ours": 0.5, "stock": 6.0}
    assert found["ratio_to_stock"] == 2.5


def test_an_unknown_way_is_refused():
    command = [sys.executable, "-m", "benchmarks.writing", "--ways=mine"]
    ended = subprocess.run(command, cwd=commands.ROOT, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: --ways: expected ours, ours_processes")
