"""Stages of a run on Dataflow: the Makefile with stand-ins for gcloud and Python.

The stand-in for gcloud copies between directories, one of which is the bucket.
"""

import pathlib

import pytest

from tests.infra.scratch import Scratch

#: Writes what a stage would, into its `--output=` or `--workdir=`.
PYTHON = """#!/bin/sh
case "$*" in *version_info*) echo 3.11; exit ;; esac
echo "python $*" >> {log}
case "$*" in *"${{FAILING:-nothing fails}}"*) exit 1 ;; esac
for argument in "$@"; do
    case "$argument" in
    --output=* | --workdir=*) directory=${{argument#*=}} ;;
    *) continue ;;
    esac
    case "$directory" in
    gs://*) directory={bucket}/${{directory#gs://my-bucket/}} ;;
    esac
    mkdir -p "$directory/checkpoints"
    echo "$*" > "$directory/rows"
    echo state > "$directory/checkpoints/state"
    echo "$*" > "$directory/COMPLETED"
done
"""
GCLOUD = """#!/bin/sh
echo "gcloud $*" >> {log}
case "$*" in *"${{FAILING:-nothing fails}}"*) exit 1 ;; esac
here() {{ echo "$1" | sed 's#^gs://my-bucket#{bucket}#'; }}
case "$1 $2" in
"storage cat") cat "$(here "$3")" ;;
"storage cp") cp "$(here "$3")" "$(here "$4")" ;;
"storage rsync")
    [ "$3" = --recursive ] || exit 2
    from=$(here "$5") to=$(here "$6")
    mkdir -p "$to"
    (cd "$from" && find . -type f) | sed 's#^[.]/##' |
        grep -vE "${{4#--exclude=}}" | while read -r file; do
        mkdir -p "$(dirname "$to/$file")" && cp "$from/$file" "$to/$file"
    done ;;
esac
"""
GIVEN = (
    *("RUNNER=dataflow", "PROJECT=my-project", "REGION=europe-west4"),
    *("BUCKET=my-bucket", "RUN=runs/birds", "PRESET=tiny", "IMAGE=worker"),
    *("LABELED=folder:labeled", "EVALUATION=folder:test"),
    "IMAGES=tfrecord:gs://my-images/*.tfrecord",
)
ROUND = pathlib.PurePath("runs/birds/round-1")
#: Directories that jobs on Dataflow make, in order.
MADE = ("teacher_predictions", "predictions", "selection", "dataset")


@pytest.fixture
def scratch(tmp_path):
    scratch = Scratch(tmp_path, python=PYTHON, gcloud=GCLOUD)
    (tmp_path / "runs/birds").mkdir(parents=True)
    (tmp_path / "runs/birds/settings").touch()
    return scratch


@pytest.fixture
def finished(scratch):
    ended = scratch.make("records", *GIVEN)
    assert ended.returncode == 0, ended.stderr
    return scratch


def test_jobs_that_read_all_images_run_in_the_cloud_and_come_home(finished):
    jobs = finished.calls("--runner=DataflowRunner")
    assert [job.split()[2].split(".")[-1] for job in jobs] == [
        *("label_images", "propagate_labels", "select_labels", "write_records")
    ]
    for job, name in zip(jobs, MADE, strict=True):
        assert f"--output=gs://my-bucket/{ROUND}/{name} " in job
        home = finished.directory / ROUND / name
        there = finished.bucket / ROUND / name
        for file in ("rows", "COMPLETED"):
            assert (home / file).read_bytes() == (there / file).read_bytes()
    assert not [call for call in jobs if "FnApiRunner" in call]


def test_a_job_reads_from_the_bucket_what_other_stages_have_made(finished):
    (job,) = finished.calls("beam_jobs.select_labels")
    read = [f"--predictions=gs://my-bucket/{ROUND}/predictions"]
    read += [f"--exclude=gs://my-bucket/{ROUND}/excluded/set-{i}" for i in (1, 2)]
    assert all(f"{argument} " in job for argument in read)
    for name in ("labeled_predictions", "excluded/set-1", "teacher/member-1"):
        assert (finished.bucket / ROUND / name / "COMPLETED").exists()
        assert (finished.bucket / ROUND / name / "rows").exists()
        assert not (finished.bucket / ROUND / name / "checkpoints").exists()


def test_what_is_in_the_bucket_is_not_sent_again(finished):
    sent = finished.calls("rsync", f"gs://my-bucket/{ROUND}/predictions")
    assert len(sent) == 1  # Home, when it was made.


def test_other_content_is_sent_again(finished):
    teacher = ROUND / "teacher/member-1"
    (finished.directory / teacher / "COMPLETED").write_text("another teacher")
    ended = finished.make("labels", *GIVEN)
    assert ended.returncode == 0, ended.stderr
    assert finished.calls("rsync", f" {teacher} gs://my-bucket/{teacher}")
    sent = (finished.bucket / teacher / "COMPLETED").read_text()
    assert sent == "another teacher"


def test_a_finished_run_calls_nothing(finished):
    assert finished.make("records", *GIVEN).returncode == 0
    assert not finished.calls("beam_jobs")
    assert not finished.calls("gcloud")


@pytest.mark.parametrize("failing", ["rsync", "cp", "label_images"])
def test_nothing_follows_on_what_has_failed(scratch, failing):
    ended = scratch.make("records", *GIVEN, FAILING=failing)
    assert ended.returncode == 2
    assert not (scratch.directory / ROUND / "teacher_predictions/COMPLETED").exists()
    assert not scratch.calls("propagate_labels")
    assert scratch.make("records", *GIVEN).returncode == 0
    assert (scratch.directory / ROUND / "dataset/COMPLETED").exists()


def test_only_labeling_has_the_accelerator(scratch):
    ended = scratch.make(
        "records", *GIVEN, "ACCELERATOR=nvidia-l4", "MACHINE=g2-standard-16"
    )
    assert ended.returncode == 0, ended.stderr
    with_gpu = scratch.calls("--accelerator=nvidia-l4", "--machine_type=g2-standard-16")
    (job,) = scratch.calls("--accelerator")
    assert [job] == with_gpu
    assert "beam_jobs.label_images" in job
    assert "--engine=tensorflow" in job


def test_only_labeling_has_an_accelerator_by_its_own_option(scratch):
    value = "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver:latest"
    flags = f"DATAFLOW_FLAGS=--disk_size_gb=60 --dataflow_service_options={value}"
    ended = scratch.make("records", *GIVEN, "ACCELERATOR=nvidia-l4", flags)
    assert ended.returncode == 0, ended.stderr
    (job,) = scratch.calls(value)
    assert "beam_jobs.label_images" in job
    assert len(scratch.calls("--disk_size_gb=60")) == len(MADE)


@pytest.mark.parametrize(
    "given",
    [
        *("RUN=runs/x/", "RUN=./x", "RUN=runs//x", "RUN=runs/../x", "RUN=."),
        *("BUCKET=gs://my-bucket/", "MAX_HOURS=0", "IMAGES=tfrecord:here/*"),
        *("ACCELERATOR=nvidia-foo", "ACCELERATOR=cpu", "ACCELERATOR=tpu-v5e"),
    ],
)
def test_what_no_job_could_do_is_refused_before_a_teacher_is_trained(scratch, given):
    name = given.partition("=")[0]
    ended = scratch.make("records", *GIVEN, given)
    assert ended.returncode == 2
    assert f"expected {name}=" in ended.stderr
    assert not scratch.calls("teacher.train")


def test_limits_are_those_of_every_job(scratch):
    ended = scratch.make(
        *("records", *GIVEN, "MAX_WORKERS=7", "MAX_HOURS=1.5", "MACHINE=c3-standard-4"),
        *("DATAFLOW_FLAGS=--disk_size_gb=60", "RATE=20"),
    )
    assert ended.returncode == 0, ended.stderr
    limits = ("--max_num_workers=7", "--max_hours=1.5", "--machine_type=c3-standard-4")
    assert len(scratch.calls(*limits, "--disk_size_gb=60")) == len(MADE)
    (job,) = scratch.calls("--images_per_second=20")
    assert "beam_jobs.label_images" in job


def test_other_runners_read_and_write_here(scratch):
    given = [each for each in GIVEN if not each.startswith("RUNNER=")]
    ended = scratch.make("records", *given)
    assert ended.returncode == 0, ended.stderr
    assert not scratch.calls("gcloud")
    assert not [call for call in scratch.calls("beam_jobs") if "gs://my-bucket" in call]
