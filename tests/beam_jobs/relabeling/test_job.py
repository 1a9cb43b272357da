"""The job: its rows, what it refuses, and that the same head gives the same labels."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from beam_jobs.relabeling import job as relabeling_job
from beam_jobs.relabeling import worker
from classifier.export.facts import read_facts
from classifier.export.head import read_head
from pseudo_label.predictions.prediction_set import open_predictions
from stage import artifact, licenses, parquet
from stage.calibration_files import CALIBRATION
from tests.beam_jobs.propagation import sets
from tests.beam_jobs.relabeling import heads
from tests.commands import call
from tests.images import random_images, write_folder

TOP = ("label", "confidence", "top_labels", "top_probabilities")


def relabel(predictions, teacher, output, *flags):
    return call(
        "beam_jobs.relabel",
        f"--predictions={predictions}",
        f"--teacher={teacher}",
        f"--output={output}",
        *flags,
    )


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    root = tmp_path_factory.mktemp("relabeling")
    return sets.write(root / "predictions", labeled=True, **heads.SETTINGS)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return heads.write(tmp_path_factory.mktemp("teacher") / "t", heads.make_head())


@pytest.fixture(scope="module")
def output(predictions, teacher, tmp_path_factory):
    output = tmp_path_factory.mktemp("relabeled") / "new"
    ended = relabel(predictions, teacher, output, "--top_k=3")
    assert ended.returncode == 0, ended.stderr
    assert "relabeled 54 of 60 images" in ended.stdout
    return output


def test_only_labels_and_probabilities_change(predictions, output):
    rows = zip(sets.read(predictions), sets.read(output), strict=True)
    for before, after in rows:
        del before["true_label"]  # Of other classes.
        assert {k: v for k, v in before.items() if k not in TOP} == {
            k: v for k, v in after.items() if k not in TOP
        }
        assert (after["label"] is None) == (before["status"] != "ok")
        if after["label"] is not None:
            assert after["label"] == after["top_labels"][0]
            assert after["confidence"] == after["top_probabilities"][0]
            assert len(after["top_labels"]) == 3


def test_the_output_is_predictions_of_the_teacher(predictions, teacher, output):
    found = open_predictions(str(output))
    assert found.class_names == tuple("wxyz")
    assert found.teachers == (read_facts(teacher).fingerprint,)
    assert (found.num_images, found.top_k, found.num_shards) == (60, 3, 3)
    assert (found.features, found.embedding_size) == (heads.FEATURES, sets.SIZE)
    assert not found.has_true_labels
    before, after = (
        pathlib.Path(path, "shards.list").read_bytes() for path in (predictions, output)
    )
    assert before == after
    assert (output / "licenses.json").exists()


def test_labels_stay_where_the_classes_are_the_same(predictions, tmp_path):
    names = sets.CLASS_NAMES
    teacher = heads.write(tmp_path / "t", heads.make_head(len(names)), names)
    assert relabel(predictions, teacher, tmp_path / "new").returncode == 0
    found = open_predictions(str(tmp_path / "new"))
    assert found.has_true_labels
    labels = [
        [row["true_label"] for row in sets.read(d)]
        for d in (predictions, tmp_path / "new")
    ]
    assert labels[0] == labels[1]


def test_the_output_can_be_relabeled_and_propagated(predictions, output, tmp_path):
    names = sets.CLASS_NAMES
    teacher = heads.write(tmp_path / "t", heads.make_head(len(names)), names)
    for before, after in ((predictions, "direct"), (output, "again")):
        assert relabel(before, teacher, tmp_path / after).returncode == 0
    rows = [sets.read(tmp_path / name) for name in ("direct", "again")]
    for row in rows[0]:
        del row["true_label"]
    assert rows[0] == rows[1]
    spread = call(
        "beam_jobs.propagate_labels",
        f"--predictions={tmp_path / 'again'}",
        f"--labeled={predictions}",  # Of another teacher, but the same features.
        "--embeddings",
        f"--output={tmp_path / 'propagated'}",
    )
    assert spread.returncode == 0, spread.stderr
    selected = call(
        "beam_jobs.select_labels",
        f"--predictions={tmp_path / 'propagated'}",
        f"--exclude={predictions}",
        f"--output={tmp_path / 'selection'}",
    )
    assert selected.returncode == 0, selected.stderr
    # The teacher's own predictions again, of which a calibration is known.
    third = tmp_path / "third"
    assert relabel(tmp_path / "propagated", teacher, third).returncode == 0
    assert sets.read(third) == rows[1]
    assert "propagation" not in artifact.read_config(third)


def test_embeddings_may_be_left_out(predictions, teacher, output, tmp_path):
    assert (
        relabel(
            predictions, teacher, tmp_path / "n", "--top_k=3", "--noembeddings"
        ).returncode
        == 0
    )
    rows = sets.read(output)
    for row in rows:
        del row["embedding"], row["embedding_norm"]
    assert sets.read(tmp_path / "n") == rows
    again = relabel(tmp_path / "n", teacher, tmp_path / "again")
    assert again.returncode == 1
    assert "no embeddings" in again.stderr


def test_workers_and_interruptions_do_not_change_the_bytes(
    predictions, teacher, output, tmp_path, monkeypatch
):
    again = tmp_path / "again"
    shutil.copytree(output, again)
    for name in ("COMPLETED", "summary.json", "predictions-00001.parquet"):
        (again / name).unlink()
    done = []
    run = worker.relabel_shard
    monkeypatch.setattr(
        worker, "relabel_shard", lambda *a: (done.append(a[2]), run(*a))
    )
    assert relabel(predictions, teacher, again, "--top_k=3").returncode == 0
    assert done == [1]
    assert sets.files(again) == sets.files(output)
    monkeypatch.undo()
    many = relabel(
        *(predictions, teacher, tmp_path / "many", "--top_k=3", "--"),
        *("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
    )
    assert many.returncode == 0, many.stderr
    assert sets.files(tmp_path / "many") == sets.files(output)


def test_a_result_that_is_not_finite_is_a_status(teacher, tmp_path):
    broken = sets.write(
        tmp_path / "p", spoil=("embedding_norm", 7, float("nan")), **heads.SETTINGS
    )
    assert relabel(broken, teacher, tmp_path / "new").returncode == 0
    rows = sets.read(tmp_path / "new")
    lost = [row for row in rows if row["status"] == "not_finite"]
    assert [row["record_index"] for row in lost] == [7, 7, 7]
    gone = (*TOP, "perceptual_hash", "embedding", "embedding_norm")
    assert all(row[name] is None for row in lost for name in gone)
    assert all(row["error"] for row in lost)
    summary = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert summary["status"] == {"not_finite": 3, "ok": 51, "undecodable": 6}


def test_the_temperature_is_the_teachers_or_the_calibrations(predictions, tmp_path):
    teacher = heads.write(tmp_path / "t", heads.make_head(), temperature=2.0)
    request = relabeling_job.RelabelingRequest(predictions=predictions, teacher=teacher)
    job = relabeling_job.plan(request, output=str(tmp_path / "new"))
    assert job.config["temperature"] == job.relabeling.temperature == 2
    calibration = tmp_path / "calibration"
    artifact.start_or_resume(calibration, {})
    content = {"schema_version": 1, "teachers": ["e" * 64], "temperature": 3.0}
    artifact.write_json(calibration / CALIBRATION, content)
    artifact.complete(calibration, seconds=0.0)
    request = dataclasses.replace(request, calibration=str(calibration))
    job = relabeling_job.plan(request, output=str(tmp_path / "new"))
    assert job.config["temperature"] == job.relabeling.temperature == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"embedding_size": 0}, "no embeddings"),
        ({"has_embedding_norms": False}, "no embeddings with their lengths"),
        ({"features": ""}, "does not say whose"),
        ({"features": "a" * 64}, "other features .* expected aaaaaaaaaaaa, got ffff"),
    ],
)
def test_predictions_that_do_not_fit(teacher, tmp_path, changes, words):
    given = sets.write(tmp_path / "p", **{**heads.SETTINGS, **changes})
    refused(given, teacher, tmp_path, words)


def test_a_bad_list_of_shards_is_noticed_before_any_work(teacher, tmp_path):
    given = sets.write(tmp_path / "p", **heads.SETTINGS)
    shards = tmp_path / "p" / "shards.list"
    shards.write_bytes(b"junk")
    refused(given, teacher, tmp_path, r"shards\.list is broken")
    parquet.write_parquet_file(shards, pa.table({"shard": range(9)}))
    refused(given, teacher, tmp_path, r"shards\.list: expected \d shards, got 9")
    shards.unlink()
    refused(given, teacher, tmp_path, r"shards\.list; delete COMPLETED")


@pytest.mark.parametrize(
    ("head", "facts", "words"),
    [
        (None, {}, "head.safetensors"),
        (heads.make_head(), {"features": None}, "other features .* got none"),
        (heads.make_head(size=5), {}, "embeddings of 5 features, got 8"),
    ],
)
def test_teachers_that_do_not_fit(predictions, tmp_path, head, facts, words):
    refused(predictions, heads.write(tmp_path / "t", head, **facts), tmp_path, words)


def refused(predictions, teacher, tmp_path, words):
    ended = relabel(predictions, teacher, tmp_path / "new")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    with pytest.raises(ValueError, match=words):
        raise ValueError(line)
    assert not (tmp_path / "new").exists()


def test_the_same_head_gives_the_labels_of_the_labeling_job(exported, tmp_path):
    write_folder(tmp_path / "images", random_images(40))
    labeled = call(
        "beam_jobs.label_images",
        f"--images=folder:{tmp_path / 'images'}",
        f"--teacher={exported[0]}",
        f"--output={tmp_path / 'labeled'}",
        *("--embeddings", "--engine=tensorflow", "--dtype=float32"),
    )
    assert labeled.returncode == 0, labeled.stderr
    ended = relabel(tmp_path / "labeled", exported[0], tmp_path / "new")
    assert ended.returncode == 0, ended.stderr
    before, after = (sets.read(tmp_path / name) for name in ("labeled", "new"))
    assert [row["top_labels"] for row in before] == [row["top_labels"] for row in after]
    probabilities = [
        np.array([row["top_probabilities"] for row in rows]) for rows in (before, after)
    ]
    assert np.abs(probabilities[0] - probabilities[1]).max() < 1e-4
    head = read_head(exported[0], read_facts(exported[0]))
    margins = np.diff(np.log(probabilities[0]), axis=1)
    assert head.embedding_size == 128
    assert np.abs(margins).max() > 1e-3  # The labels are no ties.


def test_the_job_needs_no_tensorflow():
    program = (
        "import sys, beam_jobs.relabeling.job; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_output_is_made_of_predictions_and_teacher(predictions, teacher, output):
    found = licenses.read(output)
    assert found == licenses.inherit([predictions, teacher])
    assert {origin.kind for origin in found} == {"artifact"}
