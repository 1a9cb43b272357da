"""The real commands on real digits, at a size where nothing is learned well."""

import collections
import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from classifier.data.readers import read_files
from classifier.data.sources import open_source
from pseudo_label.deduplication import near_duplicates
from pseudo_label.selection.decision import count_copies, read_selection
from stage import licenses
from stage.licenses import Origin
from tests import commands
from tests.commands import call, finish, run, start
from tests.images import random_images, write_folder, write_records

DIGITS = "digits/labels2_seed0"
QUICK = (
    "--set=num_steps=30",
    "--set=global_batch_size=16",
    "--set=optimizer.warmup_steps=5",
    # Building more of them takes longer than the steps.
    "--set=augment.num_ops=1",
    "--set=augment.operations=ShearX",
)
WEIGHTS = Origin(
    kind="weights", name="hf:me/net", license="Apache-2.0", stated_by="publisher"
)
#: Nothing is measured: which engine is fastest here says nothing about the chain.
REFERENCE = ("--engine=tensorflow", "--dtype=float32")
ONE_PROCESS = ("--", "--direct_num_workers=1")
TWO_WORKERS = (
    "--",
    "--direct_num_workers=2",
    "--direct_running_mode=multi_processing",
)


@dataclasses.dataclass(frozen=True)
class Chain:
    """Where everything is, and what some commands printed."""

    root: pathlib.Path

    @property
    def data_dir(self):
        return f"--data_dir={self.root / 'data'}"

    @property
    def images(self):
        return f"tfrecord:{self.root}/data/unlabeled/*.tfrecord"

    @property
    def test(self):
        return f"tfds:{DIGITS}:test"

    @property
    def teachers(self):
        return [f"--teacher={self.root}/teacher-{i}" for i in (1, 2)]

    def train(self, seed):
        return (
            "teacher.train",
            f"--labeled=tfds:{DIGITS}:labeled",
            f"--evaluation={self.test}",
            f"--workdir={self.root}/teacher-{seed}",
            f"--seed={seed}",
            self.data_dir,
            *QUICK,
        )

    def label(self, output, *arguments, images=None):
        return (
            "beam_jobs.label_images",
            f"--images={images or self.images}",
            f"--output={self.root / output}",
            self.data_dir,
            *REFERENCE,
            *(arguments or self.teachers),
            *(() if "--" in arguments else ONE_PROCESS),
        )

    def select(self, number, *arguments):
        return (
            "beam_jobs.select_labels",
            f"--predictions={self.root}/predictions-{number}",
            f"--output={self.root}/selection-{number}",
            "--confidence_threshold=0.15",
            "--images_per_class=90",
            *arguments,
        )

    def write(self, number, *arguments):
        return (
            "beam_jobs.write_records",
            f"--images={self.images}",
            f"--predictions={self.root}/predictions-{number}",
            f"--selection={self.root}/selection-{number}",
            f"--output={self.root}/dataset-{number}",
            "--num_shards=3",
            *arguments,
        )

    def student(self, *arguments, name="student"):
        return (
            "student.train",
            f"--pseudo_labeled={self.root}/dataset-1",
            f"--workdir={self.root}/{name}",
            *self.labeled,
            *QUICK,
            *arguments,
        )

    @property
    def labeled(self):
        sources = (f"--labeled=tfds:{DIGITS}:labeled", f"--evaluation={self.test}")
        return (*sources, self.data_dir)


def succeed(*command):
    """Runs a command inside this process; returns what it printed."""
    process = call(*command)
    assert process.returncode == 0, process.stderr
    return process.stdout


def use_one_thread(patch):
    """Lets TensorFlow of other processes compute with one thread.

    On some processors, it adds in another order with more.
    """
    patch.setitem(commands.ENVIRONMENT, "TF_NUM_INTRAOP_THREADS", "1")


def side_by_side(first, second):
    """Runs two commands at the same time."""
    process = start(*second)
    succeed(*first)
    finish(process)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Every command as a user runs it, and most also inside this process."""
    chain = Chain(tmp_path_factory.mktemp("chain"))
    succeed(
        "workflow.digits",
        f"--output={chain.root}/data",
        "--labels_per_class=2",
        "--num_shards=6",
    )
    side_by_side(chain.train(1), chain.train(2))
    # As if it had begun with published weights.
    teacher = chain.root / "teacher-2"
    licenses.write(teacher, licenses.merge(licenses.read(teacher), [WEIGHTS]))
    labelings = (
        chain.label("predictions-1"),
        chain.label("predictions-2", *chain.teachers, *TWO_WORKERS),
    )
    with pytest.MonkeyPatch.context() as patch:
        use_one_thread(patch)  # As each of two workers on two cores.
        commands.run_together(*labelings)
    for first, second in (
        (chain.select(1), chain.select(2, *TWO_WORKERS)),
        (chain.write(1), chain.write(2, *TWO_WORKERS)),
    ):
        side_by_side(first, second)
    run(*chain.student())
    return chain


@pytest.fixture(scope="module")
def examples(chain):
    """Key to encoded image of everything that was to be labeled."""
    source = open_source(chain.images)
    found = list(read_files(source.reader, source.files).as_numpy_iterator())
    images = {example["key"].decode(): example["image"] for example in found}
    assert len(images) == len(found)
    return images


@pytest.fixture(scope="module")
def rows(chain):
    return read_rows(chain.root / "predictions-1")


def read_rows(directory):
    paths = sorted(directory.glob("predictions-*"))
    return pa.concat_tables([pq.read_table(path) for path in paths])


def read_json(*parts):
    return json.loads(pathlib.Path(*parts).read_text())


def digests(directory, pattern):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.glob(pattern))
    }


def test_every_image_has_exactly_one_row(chain, rows, examples):
    assert rows["key"].to_pylist() == list(examples)
    hashes = [hashlib.sha256(image).digest() for image in examples.values()]
    assert rows["image_sha256"].to_pylist() == hashes
    summary = read_json(chain.root, "predictions-1", "summary.json")
    files = list((chain.root / "predictions-1").glob("predictions-*.parquet"))
    assert len(summary.pop("checksums")) == len(files)
    count = len(examples)
    # Of a network that all members have.
    assert summary.pop("multiply_adds") % count == 0
    assert summary == {"images": count, "status": {"ok": count}}


def test_every_selected_row_is_written_exactly_copies_times(chain, rows):
    selection = read_selection(chain.root / "selection-1")
    paths = sorted((chain.root / "predictions-1").glob("predictions-*"))
    shards = enumerate(map(pq.read_table, paths))
    dropped = functools.partial(
        near_duplicates.read_dropped, chain.root / "selection-1"
    )
    copies = np.concatenate(
        [count_copies(of, selection, dropped(index)) for index, of in shards]
    )
    assert set(copies) >= {0, 1, 2}  # The test would say little otherwise.
    keys = rows["key"].to_pylist()
    expected = {key: int(n) for key, n in zip(keys, copies, strict=True) if n}
    dataset = tfds.builder_from_directory(str(chain.root / "dataset-1"))
    written = collections.defaultdict(list)
    for example in tfds.as_numpy(dataset.as_dataset(split="train")):
        written[example["key"].decode()].append(int(example["copy"]))
    assert {key: len(found) for key, found in written.items()} == expected
    assert all(sorted(found) == list(range(len(found))) for found in written.values())
    assert dataset.info.splits["train"].num_examples == selection.funnel.records


def test_tfds_gives_the_same_pixels_back_and_the_teachers_word(chain, rows, examples):
    row_of = {row["key"]: row for row in rows.to_pylist()}
    dataset = tfds.builder_from_directory(str(chain.root / "dataset-1"))
    assert dataset.info.features["label"].names == [str(i) for i in range(10)]
    for example in tfds.as_numpy(dataset.as_dataset(split="train")):
        key = example["key"].decode()
        pixels = tf.io.decode_image(examples[key], channels=3)
        np.testing.assert_array_equal(example["image"], pixels)
        assert example["label"] == row_of[key]["label"]
        assert example["confidence"] == np.float32(row_of[key]["confidence"])
        assert example["top_labels"].tolist() == row_of[key]["top_labels"]


def test_two_workers_give_the_same_bytes_as_one(chain):
    for stage, pattern in (
        ("predictions", "predictions-*"),
        ("selection", "selection.json"),
        ("dataset", "*"),
    ):
        first = digests(chain.root / f"{stage}-1", pattern)
        second = digests(chain.root / f"{stage}-2", pattern)
        # Where its inputs are, and they are not laid out alike.
        first.pop("inputs.json", None), second.pop("inputs.json", None)
        first.pop("COMPLETED", None), second.pop("COMPLETED", None)
        assert first == second
        assert first


def test_the_dataset_counts_as_it_should(chain):
    lines = succeed("pseudo_label.verify", chain.root / "dataset-2").splitlines()
    assert lines[-1] == "ok"
    written = tfds.builder_from_directory(str(chain.root / "dataset-2"))
    (records,) = [line.split() for line in lines if line.startswith("records read")]
    assert int(records[-1]) == written.info.splits["train"].num_examples


def test_the_funnel_adds_up(chain, rows):
    funnel = read_json(chain.root, "selection-1", "selection.json")["funnel"]
    assert funnel["read"] == rows.num_rows
    lost = ("undecodable", "leaked", "duplicate", "below_threshold", "beyond_quota")
    assert funnel["read"] == sum(funnel[name] for name in (*lost, "unique_kept"))
    assert funnel["records"] == funnel["unique_kept"] + funnel["copies"]


def test_labeling_is_as_accurate_as_the_trainers_own_evaluation(chain):
    """To the image: one preprocessing, one network, one set of weights."""
    succeed(*chain.label("test-single", chain.teachers[0], images=chain.test))
    succeed(*chain.label("test-both", *chain.teachers, images=chain.test))
    succeed(
        "teacher.evaluate",
        *chain.teachers,
        f"--evaluation={chain.test}",
        f"--output={chain.root}/evaluation",
        chain.data_dir,
    )
    source = open_source(chain.test, data_dir=str(chain.root / "data"))
    examples = read_files(source.reader, source.files).as_numpy_iterator()
    labels = [int(example["label"]) for example in examples]
    correct = {}
    for name in ("test-single", "test-both"):
        predicted = read_rows(chain.root / name)["label"].to_pylist()
        correct[name] = sum(a == b for a, b in zip(predicted, labels, strict=True))
    trainer = read_json(chain.root, "teacher-1", "classifier.json")["evaluation"]
    assert correct["test-single"] == trainer["num_correct"]
    ensemble = read_json(chain.root, "evaluation", "evaluation.json")
    assert correct["test-both"] == ensemble["num_correct"]
    assert ensemble["num_examples"] == len(labels) == 600


def test_licenses_reach_the_card_of_the_student(chain):
    found = {origin.name: origin for origin in licenses.read(chain.root / "student")}
    assert found.pop(f"tfds:{DIGITS}:labeled").license == "CC-BY-4.0"
    assert found.pop(WEIGHTS.name) == WEIGHTS
    (unlabeled,) = found.values()
    assert (unlabeled.kind, unlabeled.license) == ("images", licenses.UNKNOWN)
    for name in ("dataset-1", "student"):
        card = (chain.root / name / "README.md").read_text()
        assert "| hf:me/net | Apache-2.0 | publisher |" in card
        assert "| CC-BY-4.0 | publisher |" in card
        assert "1 of 3 is unknown" in card


def test_a_license_is_stated_afterwards_without_training_again(chain, tmp_path):
    student = shutil.copytree(chain.root / "student", tmp_path / "student")
    weights = (student / "model.keras").read_bytes()
    command = [
        f"--workdir={student}" if word.startswith("--workdir=") else word
        for word in chain.student()
    ]
    assert "already complete" in succeed(*command, "--license=labeled=MIT")
    assert (student / "model.keras").read_bytes() == weights
    card = (student / "README.md").read_text()
    assert "| MIT | user |" in card


def test_a_second_run_does_nothing(chain):
    commands = [
        chain.train(1),
        chain.label("predictions-1"),
        chain.select(1),
        chain.write(1),
        chain.student(),
    ]
    before = {
        path: path.stat().st_mtime_ns
        for path in chain.root.rglob("*")
        if path.is_file() and path.name != "COMPLETED"
    }
    for command in commands:
        assert "already complete" in succeed(*command)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


@pytest.mark.slow
def test_killed_labeling_goes_on_where_it_was(chain, tmp_path, monkeypatch):
    use_one_thread(monkeypatch)
    source = open_source(chain.images)
    images = [
        example["image"]
        for example in read_files(source.reader, source.files).as_numpy_iterator()
    ]
    for shard in range(100):
        write_records(tmp_path / "in" / f"part-{shard:03d}", images[shard::100])
    command = (
        "beam_jobs.label_images",
        f"--images=tfrecord:{tmp_path}/in/part-*",
        chain.teachers[0],
        *REFERENCE,
    )
    process = start(*command, f"--output={tmp_path}/killed", *ONE_PROCESS)
    line = process.stdout.readline()
    assert "shard" in line, line + process.stdout.read()
    process.kill()
    process.communicate()
    done = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "killed").glob("predictions-*")
    }
    assert 0 < len(done) < 100
    assert not (tmp_path / "killed" / "COMPLETED").exists()
    output = run(*command, f"--output={tmp_path}/killed", *ONE_PROCESS)
    run(*command, f"--output={tmp_path}/undisturbed", *ONE_PROCESS)
    assert f"{len(done)} of 100 shards are labeled already" in output
    assert {path: path.stat().st_mtime_ns for path in done} == done
    first = digests(tmp_path / "killed", "*")
    second = digests(tmp_path / "undisturbed", "*")
    first.pop("COMPLETED"), second.pop("COMPLETED")
    assert first == second
    assert len(read_rows(tmp_path / "killed")) == len(images)


@pytest.mark.parametrize("kind", ["tfrecord", "folder"])
def test_bad_images_are_rows_with_a_reason(chain, tmp_path, kind):
    good = random_images(5)
    shard = [good[0], good[1][:50], b"", good[2], b"no image at all", *good[3:]]
    if kind == "tfrecord":
        write_records(tmp_path / "in" / "part-0", shard)
        write_records(tmp_path / "in" / "part-1", good)
        images = f"tfrecord:{tmp_path}/in/part-*"
    else:
        write_folder(tmp_path / "in" / "first", shard)
        write_folder(tmp_path / "in" / "second", good)
        images = f"folder:{tmp_path}/in"
    output = succeed(
        "beam_jobs.label_images",
        f"--images={images}",
        chain.teachers[0],
        f"--output={tmp_path}/out",
        *REFERENCE,
        *ONE_PROCESS,
    )
    assert "labeled 9 of 12 images (1 empty, 2 undecodable)" in output
    rows = read_rows(tmp_path / "out").to_pylist()
    assert [row["status"] for row in rows] == [
        *("ok", "undecodable", "empty", "ok", "undecodable", "ok", "ok"),
        *["ok"] * 5,
    ]
    assert all(bool(row["error"]) == (row["status"] != "ok") for row in rows)
    assert [row["label"] is None for row in rows] == [r["status"] != "ok" for r in rows]
    # Beside bad images the good ones fare as they do among themselves.
    confidences = [row["confidence"] for row in rows]
    beside_bad = [confidences[i] for i in (0, 3, 5, 6)]
    assert beside_bad == [confidences[7 + i] for i in (0, 2, 3, 4)]
    succeed(
        "beam_jobs.select_labels",
        f"--predictions={tmp_path}/out",
        "--confidence_threshold=0",
        f"--output={tmp_path}/selection",
    )
    funnel = read_json(tmp_path, "selection", "selection.json")["funnel"]
    assert (funnel["read"], funnel["undecodable"]) == (12, 3)


def test_the_student_is_a_classifier_like_its_teacher(chain):
    output = succeed(
        "beam_jobs.label_images",
        f"--images={chain.test}",
        f"--teacher={chain.root}/student",
        f"--output={chain.root}/by-student",
        chain.data_dir,
        *REFERENCE,
        *ONE_PROCESS,
    )
    assert "labeled 600 of 600 images" in output
    parameters = [
        read_json(chain.root, name, "classifier.json")["num_parameters"]
        for name in ("teacher-1", "student")
    ]
    assert parameters[1] == parameters[0]


def test_a_student_has_a_control_and_a_last_phase(chain):
    process = start(
        "student.fix_resolution",
        f"--student={chain.root}/student",
        f"--workdir={chain.root}/student-large",
        *chain.labeled,
        "--set=num_steps=3",
    )
    succeed(*chain.student("--control", name="control"))
    finish(process)
    configs = {
        name: read_json(chain.root, name, "config.json")
        for name in ("student", "control", "student-large")
    }
    records = sum(
        int(n)
        for split in read_json(chain.root, "dataset-1", "dataset_info.json")["splits"]
        for n in split["shardLengths"]
    )
    assert configs["student"]["sizes"] == {"labeled": 20, "pseudo_labeled": records}
    # The control differs in what it learns from alone.
    assert configs["student"].pop("pseudo_labeled") is not None
    assert configs["control"].pop("pseudo_labeled") is None
    assert configs["control"] == configs["student"]
    assert configs["student-large"]["config"]["image"]["size"] == 40
    facts = read_json(chain.root, "student", "classifier.json")
    initial = configs["student-large"]["initial_weights"]
    assert initial == {"fingerprint": facts["fingerprint"], "new_head": False}
    for name, sources in (
        ("student", ["", "_labeled", "_pseudo_labeled"]),
        ("control", [""]),
    ):
        lines = (chain.root / name / "metrics.jsonl").read_text().splitlines()
        names = {name for line in lines for name in json.loads(line)}
        found = {name for name in names if name.startswith("train/top1")}
        assert found == {f"train/top1{source}" for source in sources}


@pytest.mark.parametrize("name", ["teacher-1", "student"])
def test_training_leaves_figures_for_people_and_for_tensorboard(chain, name):
    directory = chain.root / name
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[-1]["step"] == 30
    assert 0 <= rows[-1]["evaluation/top1"] <= 1
    (events,) = (directory / "events").iterdir()
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert {"train/loss", "evaluation/top1"} <= tags


def test_images_that_changed_after_labeling_are_not_written(chain, tmp_path):
    images = random_images(6)
    write_records(tmp_path / "part-0", images)
    common = (f"--images=tfrecord:{tmp_path}/part-*",)
    succeed(
        "beam_jobs.label_images",
        *common,
        chain.teachers[0],
        f"--output={tmp_path}/predictions",
        *REFERENCE,
        *ONE_PROCESS,
    )
    succeed(
        "beam_jobs.select_labels",
        f"--predictions={tmp_path}/predictions",
        "--confidence_threshold=0",
        f"--images_per_class={len(images)}",  # All are kept.
        f"--output={tmp_path}/selection",
    )
    write_records(tmp_path / "part-0", images[::-1])  # As many bytes as before.
    ended = call(
        "beam_jobs.write_records",
        *common,
        f"--predictions={tmp_path}/predictions",
        f"--selection={tmp_path}/selection",
        f"--output={tmp_path}/dataset",
        *ONE_PROCESS,
    )
    assert ended.returncode != 0
    assert "shard 0, row 0 (part-0#0): the image is not the one" in ended.stderr
    assert not (tmp_path / "dataset" / "COMPLETED").exists()
