import collections
import dataclasses
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs.io import filesystems
from beam_jobs.labeling import worker
from beam_jobs.labeling.worker import Labeling, LabelingError, Teachers
from classifier.data import python_reader
from classifier.data.sources import open_source
from classifier.inference.ensemble import BATCH_SIZE, Predictions
from stage import artifact
from stage.status import OK
from tests.beam_jobs.labeling import test_model_handler
from tests.images import random_images, to_examples, write_records


class Constant:
    """Predicts the same for each image."""

    def decode(self, examples):
        predictor = test_model_handler.HandlerPredictor(
            test_model_handler.Fixed(), num_classes=3
        )
        return predictor.decode(examples)

    def predict(self, decoded):
        count = len(decoded.examples)
        return Predictions(
            probabilities=np.full((count, 3), [0.5, 0.3, 0.2], np.float32),
            status=[example.status for example in decoded.examples],
            error=[example.error for example in decoded.examples],
        )


@pytest.fixture
def shard(tmp_path):
    write_records(tmp_path / "in", [*random_images(3), b"text"])
    return open_source(f"tfrecord:{tmp_path}/in").shards[0]


@pytest.fixture
def labeling(tmp_path):
    source = open_source(f"tfrecord:{tmp_path}/in")
    return Labeling(
        reader=source.reader,
        num_shards=1,
        predictor=None,
        top_k=2,
        output=str(tmp_path),
        fingerprint="f",
    )


def test_a_row_for_each_image_in_order(shard, labeling):
    counts = worker.label_shard(shard, labeling, Constant())
    table = pq.read_table(str(labeling.path(0)))
    assert counts == {OK: 4}
    assert table["key"].to_pylist() == [f"in#{row}" for row in range(4)]
    assert table["record_index"].to_pylist() == [0, 1, 2, 3]
    assert table["top_labels"].to_pylist() == [[0, 1]] * 4


@pytest.mark.parametrize("label", [3, -2, 2**40])
def test_a_label_that_is_no_class_is_named(tmp_path, shard, labeling, label):
    labeling = dataclasses.replace(labeling, more_columns=["true_label"])

    def label_images(*labels):
        write_records(tmp_path / "in", random_images(3), labels)
        shard = open_source(f"tfrecord:{tmp_path}/in").shards[0]
        worker.label_shard(shard, labeling, Constant())

    label_images(0, None, 2)
    rows = pq.read_table(str(labeling.path(0)))
    assert rows["true_label"].to_pylist() == [0, None, 2]
    with pytest.raises(LabelingError, match=rf"in#1: .* 0\.\.2.* {label}$"):
        label_images(0, label, 2)


def test_rows_do_not_depend_on_the_bytes_of_a_batch(
    tmp_path, shard, labeling, exported, monkeypatch
):
    write_records(tmp_path / "in", random_images(70))
    shard = open_source(f"tfrecord:{tmp_path}/in").shards[0]
    predictor = Teachers(directories=[str(exported[0])]).load()
    worker.label_shard(shard, labeling, predictor)
    before = labeling.path(0).read_bytes()
    labeling.path(0).unlink()
    monkeypatch.setattr(python_reader, "_MAX_BATCH_BYTES", 5000)
    worker.label_shard(shard, labeling, predictor)
    assert labeling.path(0).read_bytes() == before


@pytest.mark.parametrize("is_there", [False, True])
def test_a_worker_that_lacks_its_gpu_says_so(exported, monkeypatch, is_there):
    monkeypatch.setattr(worker, "has_gpu", lambda: is_there)
    teachers = Teachers(directories=[str(exported[0])], accelerator="nvidia-l4")
    if is_there:
        assert teachers.load()
        return
    with pytest.raises(LabelingError, match=r"with nvidia-l4.*finds no GPU"):
        teachers.load()


def test_a_check_that_raises_leaves_no_file(shard, labeling, tmp_path):
    def check(status):
        raise LabelingError("too many")

    with pytest.raises(LabelingError):
        worker.label_shard(shard, labeling, Constant(), check)
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_a_shard_that_another_job_has_finished_is_left_alone(
    shard, labeling, monkeypatch
):
    def finish_elsewhere(*_, **__):
        labeling.path(0).write_bytes(b"other")
        raise FileNotFoundError

    monkeypatch.setattr(worker.prediction_schema, "write_shard", finish_elsewhere)
    assert worker.label_shard(shard, labeling, Constant()) == {}
    assert labeling.path(0).read_bytes() == b"other"


def test_a_missing_file_becomes_a_row_without_prediction(shard, labeling, tmp_path):
    (tmp_path / "in").unlink()
    counts = worker.label_shard(shard, labeling, Constant())
    assert sum(counts.values()) == 1
    assert OK not in counts


@pytest.mark.parametrize(("bad", "fails"), [(0, False), (2, False), (3, True)])
def test_the_bad_fraction_has_a_limit(bad, fails):
    counts = collections.Counter({OK: 10 - bad, "undecodable": bad})
    if fails:
        with pytest.raises(LabelingError, match="--max_bad_fraction"):
            worker.check_bad_fraction(counts, 0.2)
    else:
        worker.check_bad_fraction(counts, 0.2)


def test_a_batch_is_decoded_while_another_is_predicted(shard, labeling, tmp_path):
    """Otherwise the job takes the sum of both times, not the larger one."""
    write_records(tmp_path / "in", random_images(1) * (2 * BATCH_SIZE))
    shard = open_source(f"tfrecord:{tmp_path}/in").shards[0]
    second_is_decoded = threading.Event()
    decoded = []

    class Watched(Constant):
        def decode(self, examples):
            decoded.append(len(examples))
            if len(decoded) == 2:
                second_is_decoded.set()
            return super().decode(examples)

        def predict(self, batch):
            assert second_is_decoded.wait(60)
            return super().predict(batch)

    counts = worker.label_shard(shard, labeling, Watched())
    assert counts == {OK: 2 * BATCH_SIZE}


def test_teachers_load_from_where_they_are(exported, monkeypatch):
    fetched = []

    def fetch(path, scratch, *, leave_out):
        fetched.append((str(path), leave_out))
        return path

    monkeypatch.setattr(filesystems, "fetch", fetch)
    ensemble = Teachers(directories=(str(exported[0]),), temperature=2.0).load()
    assert fetched == [(str(exported[0]), artifact.SCRATCH)]
    predicted = ensemble.predict(ensemble.decode(to_examples(random_images(1))))
    assert predicted.status == [OK]
