"""How the flags reach the job, which is tested in labeling/."""

import pyarrow.parquet as pq
import pytest

from beam_jobs import label_images
from stage import artifact
from tests.beam_jobs.runners.dataflow.jobs import filled
from tests.commands import call
from tests.images import random_images, write_records, write_tar
from tests.json_files import read_json

DATAFLOW = (
    "--",
    *("--runner=DataflowRunner", "--project=project", "--region=us-central1"),
    *("--temp_location=gs://bucket/tmp", "--sdk_container_image=image"),
)


def test_every_image_is_labeled_once(exported, tmp_path):
    write_records(tmp_path / "images" / "part-0", random_images(3))
    write_records(tmp_path / "images" / "part-1", [b"text", *random_images(2)])
    command = (
        "beam_jobs.label_images",
        f"--images=tfrecord:{tmp_path}/images/*",
        *(f"--teacher={exported[0]}", f"--output={tmp_path}/predictions"),
        *("--engine=tensorflow", "--dtype=float32", "--top_k=2"),
        *("--", "--direct_num_workers=1"),
    )
    process = call(*command)
    assert process.returncode == 0, process.stderr
    rows = [
        row
        for path in sorted((tmp_path / "predictions").glob("predictions-*"))
        for row in pq.read_table(path).to_pylist()
    ]
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["undecodable", "ok", "ok"]
    config = read_json(tmp_path / "predictions" / artifact.CONFIG)
    assert config["top_k"] == 2
    assert artifact.is_complete(tmp_path / "predictions")
    assert "already complete" in call(*command).stdout


def test_labels_of_another_feature_are_stored(exported, tmp_path):
    classes = read_json(exported[0] / "classifier.json")["class_names"]
    (tmp_path / "classes.txt").write_text("\n".join(classes))
    members = [
        member
        for index, image in enumerate(random_images(3))
        for member in ((f"{index}.png", image), (f"{index}.kind", b"%d" % (2 - index)))
    ]
    write_tar(tmp_path / "labeled.tar", members)
    flags = (
        *(f"--images=webdataset:{tmp_path}/labeled.tar", f"--teacher={exported[0]}"),
        *(f"--output={tmp_path}/labeled", "--label_feature=kind"),
        *("--engine=tensorflow", "--dtype=float32"),
    )
    refused = call("beam_jobs.label_images", *flags)
    assert refused.returncode == 1
    assert "--label_feature needs --embeddings" in refused.stderr
    names = f"--class_names={tmp_path}/classes.txt"
    process = call("beam_jobs.label_images", *flags, "--embeddings", names)
    assert process.returncode == 0, process.stderr
    rows = pq.read_table(tmp_path / "labeled" / "predictions-00000.parquet")
    assert rows["true_label"].to_pylist() == [2, 1, 0]


def label(*arguments):
    return call("beam_jobs.label_images", "--images=tfrecord:none", *arguments)


def test_an_estimate_needs_no_images():
    process = label(
        *("--output=none", "--estimate=1000000", "--images_per_second=20", *DATAFLOW)
    )
    assert process.returncode == 0, process.stderr
    assert "1,000,000" in process.stdout


def test_an_estimate_of_blended_predictions_says_so():
    flags = ("--output=none", "--images_per_second=20", "--embeddings", "--blended")
    process = label("--estimate=1000000", *flags, *DATAFLOW)
    assert process.returncode == 0, process.stderr
    assert "before and after blending: 0.2 GB" in process.stdout
    assert "two bytes for each stored feature" in process.stdout
    process = label(*flags, *DATAFLOW)
    assert process.returncode == 1
    assert "--blended needs --estimate" in process.stderr


@pytest.mark.parametrize(
    "arguments", [("--images_per_second=20",), DATAFLOW], ids=["runner", "rate"]
)
def test_an_estimate_needs_a_rate_and_dataflow(arguments):
    process = label("--output=none", "--estimate=1000", *arguments)
    assert process.returncode == 1
    assert "--images_per_second" in process.stderr


@pytest.mark.parametrize(
    ("teacher", "named"),
    [("runs/teacher", "runs/teacher"), ("gs://bucket/teacher", "--engine")],
)
def test_dataflow_needs_what_its_workers_can_see(teacher, named):
    label_images.FLAGS.parse(
        ["", "--images=x", "--output=gs://bucket/out", f"--teacher={teacher}"]
    )
    with pytest.raises(ValueError, match=named):
        label_images._check_for_dataflow(filled(), "gs://bucket/images")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_gpu_needs_the_engine_that_runs_on_it(engine):
    flags = ["", "--images=x", "--output=gs://bucket/out", "--teacher=gs://bucket/x"]
    label_images.FLAGS.parse([*flags, f"--engine={engine}", "--dtype=float32"])
    label_images._check_for_dataflow(filled(), "gs://bucket/images")
    with_gpu = filled("--accelerator=nvidia-l4")
    with pytest.raises(ValueError, match=f"--engine=tensorflow.*nvidia-l4.*{engine}"):
        label_images._check_for_dataflow(with_gpu, "gs://bucket/images")
