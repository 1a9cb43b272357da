import collections
import dataclasses
import hashlib
import json
import pathlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from beam_jobs.runners.run import PipelineError, parse_beam_arguments
from beam_jobs.writing import job as writing_job
from beam_jobs.writing import spool
from beam_jobs.writing import worker as writing_worker
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from pseudo_label.dataset import records as dataset_records
from stage import artifact, shard_list
from tests import chain
from tests.images import random_images, write_records
from tests.json_files import read_json


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three groups of shards, written without a disturbance."""
    found = chain.make(
        tmp_path_factory.mktemp("chain") / "run",
        num_shards=24,
        per_shard=5,
        images_per_class=60,
        max_copies=4,
    )
    job = found.write(num_shards=12)
    assert len(job.groups) == 3
    return found


@pytest.fixture
def run(made, tmp_path):
    """A copy of it, to be disturbed."""
    shutil.copytree(made.root, tmp_path / "run")
    return chain.Chain(tmp_path / "run")


def read(dataset):
    """Each record as (output shard, example), read by TensorFlow."""
    spec = dataset_records.parsing_spec(top_k=chain.TOP_K)
    for shard, path in enumerate(sorted(dataset.glob("*tfrecord*"))):
        for content in tf.data.TFRecordDataset(str(path)):
            parsed = tf.io.parse_single_example(content, spec)
            yield shard, {name: value.numpy() for name, value in parsed.items()}


def digests(directory):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if path.name != "COMPLETED"
    }


def shards_of(directory):
    return sorted(directory.glob("pseudo_labels*"))


def test_the_best_of_each_class_are_written_as_often_as_they_should(made):
    """Computed by sorting the predictions, without the rule for single rows."""
    paths = sorted(pathlib.Path(made.predictions).glob("predictions-*"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    expected = {}
    for label in range(len(chain.CLASS_NAMES)):
        best = sorted(
            (r for r in rows if r["label"] == label and r["confidence"] >= 0.5),
            key=lambda row: (-row["confidence"], row["key_hash"]),
        )[:60]
        records = min(60, 4 * len(best))
        for rank, row in enumerate(best):
            expected[row["key"]] = len(range(rank, records, len(best)))
    assert set(expected.values()) >= {1, 2}
    found = collections.defaultdict(list)
    for _, example in read(made.dataset):
        found[example["key"].decode()].append(int(example["copy"]))
    assert {key: len(copies) for key, copies in found.items()} == expected
    assert all(sorted(copies) == list(range(len(copies))) for copies in found.values())


def test_records_say_where_they_come_from(made):
    source = open_source(made.images)
    images = {
        example["key"].decode(): example["image"]
        for example in read_files(source.reader, source.files).as_numpy_iterator()
    }
    config = read_json(made.dataset / "config.json")
    for _, example in read(made.dataset):
        key = example["key"].decode()
        assert example["image"] == images[key]
        shard, row = key.removeprefix("part-").split("#")
        assert example["source"].decode() == f"shard-{int(shard):05d}"
        assert example["row"] == int(row)
        assert example["teacher"].decode() == "0123abc" == config["teacher"]
        assert example["round"] == 1 == config["round"]


def test_copies_lie_apart_and_input_shards_are_mixed(made):
    where = collections.defaultdict(list)
    sources = collections.defaultdict(list)
    for shard, example in read(made.dataset):
        where[example["key"]].append(shard)
        sources[shard].append(example["source"])
    assert max(map(len, where.values())) > 1
    assert all(len(set(shards)) == len(shards) for shards in where.values())
    for names in sources.values():
        assert len(set(names)) >= min(len(names) // 2, 5)
        assert names != sorted(names)


def test_more_copies_than_shards_are_written_as_well(tmp_path):
    found = chain.make(tmp_path, images_per_class=40, max_copies=9)
    found.write(num_shards=2)
    total = collections.Counter(example["key"] for _, example in read(found.dataset))
    assert max(total.values()) > 2


def test_tfds_reads_all_of_it(made):
    builder = tfds.builder_from_directory(str(made.dataset))
    split = builder.info.splits["train"]
    sizes = [path.stat().st_size for path in shards_of(made.dataset)]
    assert split.num_bytes == sum(sizes) - 16 * split.num_examples
    keys = [example["key"] for example in tfds.as_numpy(builder.as_dataset("train"))]
    assert len(keys) == split.num_examples == sum(split.shard_lengths)
    assert builder.info.features["label"].names == list(chain.CLASS_NAMES)


@pytest.mark.parametrize(
    "mode", ["in_memory", pytest.param("multi_processing", marks=pytest.mark.slow)]
)
def test_bytes_do_not_depend_on_workers_or_paths(made, tmp_path, monkeypatch, mode):
    """In another directory of the same layout, only `COMPLETED` differs."""
    for name in ("images", "predictions", "selection"):
        shutil.copytree(made.root / name, tmp_path / name)
    options = parse_beam_arguments(
        ["", "--direct_num_workers=3", f"--direct_running_mode={mode}"], name="x"
    )
    monkeypatch.setattr(chain, "OPTIONS", options)
    chain.Chain(tmp_path).write(num_shards=12)
    assert digests(tmp_path / "dataset") == digests(made.dataset)
    config = (made.dataset / "config.json").read_text()
    assert str(made.root) not in config


def test_only_missing_shards_are_written_again(run, made):
    (run.dataset / "COMPLETED").unlink()
    for index in (3, 4, 11):
        (run.dataset / dataset_records.shard_name(index, 12)).unlink()
    (run.dataset / "dataset_info.json").unlink()
    (run.dataset / f".{dataset_records.shard_name(3, 12)}.{'0' * 32}").touch()
    before = {path: path.stat().st_mtime_ns for path in shards_of(run.dataset)}
    assert len(before) == 9
    run.write(num_shards=12)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert digests(run.dataset) == digests(made.dataset)


def test_no_image_is_read_where_all_shards_are_there(run, made, monkeypatch):
    (run.dataset / "COMPLETED").unlink()
    (run.dataset / "dataset_info.json").unlink()
    job = run.plan(num_shards=12)
    shutil.rmtree(run.root / "images")
    assert not artifact.start_or_resume(job.output, job.config)
    writing_job.run(job, chain.OPTIONS)
    writing_job.finish(job)
    assert digests(run.dataset) == digests(made.dataset)


def test_a_run_that_fails_midway_is_resumed(run, made, monkeypatch):
    shutil.rmtree(run.dataset)
    read_shard = spool.Spool.read

    def fail(self, shard):
        if shard == 2:
            raise OSError(28, "No space left on device")
        return read_shard(self, shard)

    with monkeypatch.context() as patch:
        patch.setattr(spool.Spool, "read", fail)
        with pytest.raises(PipelineError, match=r"shards 0 to 3: .*No space"):
            run.write(num_shards=12)
    whole = digests(made.dataset)
    left = digests(run.dataset)
    assert {name for name in left if "tfrecord" in name} == {
        dataset_records.shard_name(index, 12) for index in (0, 1)
    }
    assert all(left[name] == whole[name] for name in left if "tfrecord" in name)
    run.write(num_shards=12)
    assert digests(run.dataset) == whole


def test_another_number_of_shards_is_refused(run, made):
    with pytest.raises(ValueError, match=r"num_shards.* 12.* 5"):
        run.write(num_shards=5)
    with pytest.raises(ValueError, match=r"round.* 1.* 2"):
        run.write(num_shards=12, round_number=2)
    assert digests(run.dataset) == digests(made.dataset)


def test_an_image_that_changed_stops_its_group_before_anything_is_published(run, made):
    shutil.rmtree(run.dataset)
    group = run.plan(num_shards=12).groups[1]
    selected = {
        (example["source"].decode(), int(example["row"]))
        for _, example in read(made.dataset)
    }
    # The last that is read.
    shard = max(
        s for s in group.inputs if any(f"{s:05d}" in name for name, _ in selected)
    )
    row = max(r for name, r in selected if name == f"shard-{shard:05d}")
    path = run.root / "images" / f"part-{shard:02d}"
    images = random_images(24 * 5)[shard::24]
    images[row] = images[row][:-1] + b"x"
    write_records(path, images)
    words = rf"shard {shard}, row {row} \(part-{shard:02d}#{row}\)"
    with pytest.raises(PipelineError, match=words):
        run.write(num_shards=12)
    written = {path.name for path in shards_of(run.dataset)}
    assert not written & {
        dataset_records.shard_name(index, 12) for index in group.outputs
    }
    assert not (run.dataset / "dataset_info.json").exists()
    assert not (run.dataset / "COMPLETED").exists()
    # The image put back, the same command goes on.
    write_records(path, random_images(24 * 5)[shard::24])
    run.write(num_shards=12)
    assert digests(run.dataset) == digests(made.dataset)


def test_another_number_of_images_stops_it(run):
    shutil.rmtree(run.dataset)
    path = run.root / "images" / "part-05"
    size = path.stat().st_size
    job = run.plan(num_shards=12)
    write_records(path, random_images(24 * 5)[5::24][:-1])
    assert path.stat().st_size < size
    artifact.start_or_resume(job.output, job.config)
    with pytest.raises(PipelineError, match=r"shard 5: .* 5 images.* 1 \(.*bytes"):
        writing_job.run(job, chain.OPTIONS)


def test_dropped_rows_are_not_written(tmp_path):
    found = chain.make(tmp_path, dropped={1: [1, 2], 2: [7]})
    found.write()
    keys = {example["key"].decode() for _, example in read(found.dataset)}
    assert keys
    assert not keys & {"part-01#1", "part-01#2", "part-02#7"}


def test_several_teachers_have_one_fingerprint(tmp_path):
    found = chain.make(tmp_path, teachers=("aa", "bb"))
    job = found.plan()
    assert job.teacher == artifact.fingerprint([b"aa", b"bb"])
    found.write(round_number=3)
    for _, example in read(found.dataset):
        assert example["teacher"].decode() == job.teacher
        assert example["round"] == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"round_number": 0}, "round.* 0"),
        ({"num_shards": -1}, "num_shards.* -1"),
    ],
)
def test_settings_out_of_range_are_refused(made, settings, words):
    with pytest.raises(ValueError, match=words):
        made.plan(**settings)


def test_the_number_of_shards_follows_from_the_records(made):
    job = made.plan(num_shards=0)
    assert job.num_shards == 4
    funnel = dataclasses.replace(job.selection.funnel, records=5 * 4096 + 1)
    assert funnel.records > writing_job.MIN_SHARDS * writing_job.RECORDS_PER_SHARD
    assert job.units == 1  # Few records: one process has them before others start.
    selection = dataclasses.replace(
        job.selection,
        funnel=dataclasses.replace(
            funnel, records=writing_worker.MIN_RECORDS_TO_SPREAD
        ),
    )
    many = dataclasses.replace(job, selection=selection, num_shards=12)
    assert many.units == 3


def test_inputs_and_card_are_written_beside_the_records(made):
    assert json.loads((made.dataset / "inputs.json").read_text()) == {
        "predictions": "../predictions",
        "selection": "../selection",
    }
    assert (made.dataset / "README.md").read_text().startswith("---\n")
    assert not (made.dataset / shard_list.NAME).exists()
    assert np.sum(["tfrecord" in path.name for path in made.dataset.iterdir()]) == 12


def test_finished_shards_are_counted_by_one_listing(run, monkeypatch):
    shards_of(run.dataset)[0].unlink()
    job, counts = run.plan(num_shards=12), []

    def run_pipeline(pipeline_job, *_, **__):
        with monkeypatch.context() as patch:
            patch.setattr(type(run.dataset), "exists", pytest.fail)
            counts.append(pipeline_job.count_done())

    monkeypatch.setattr(writing_job.runners, "run_pipeline", run_pipeline)
    writing_job.run(job, chain.OPTIONS)
    assert counts == [11]
