"""Stages of a run on Dataflow: the Makefile with stand-ins for gcloud and Python.

The stand-in for gcloud copies between directories, one of which is the bucket.
"""

import pathlib

import pytest

from tests import commands
from tests.infra import scratch as scratch_module

#: Writes what a stage would, into its `--output=` or `--workdir=`.
PYTHON = """#!/bin/sh
case "$*" in *version_info*) echo 3.11; exit ;; esac
echo "python $*" >> {log}
case "$2" in infra.dataflow_check) printf '%s\\n' "$@" > {log}.check ;; esac
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
    case "$2" in workflow.choose)
        [ -e "$directory/choice.mk" ] || printf 'CHOSEN_%s\n' \
            'FEATURES := ' 'PRESET := tiny' 'FLAGS := ' > "$directory/choice.mk" ;;
    esac
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
CHECK = "infra.dataflow_check"
ROUND = pathlib.PurePath("runs/birds/round-1")
#: Directories that jobs on Dataflow make, in order.
MADE = ("teacher_predictions", "predictions", "selection", "dataset")


class Scratch(scratch_module.Scratch):
    """A scratch copy of the Makefile that tells the check from other calls."""

    def calls(self, *words):
        """Returns the calls that have all of some words, but for the check's."""
        return [line for line in super().calls(*words) if CHECK not in line]

    @property
    def modules(self):
        """The modules of Python that were called, in order."""
        lines = super().calls("python -m ")
        return [line.split()[2] for line in lines]

    def check(self):
        """Does what the last call of the check would; returns its status and errors."""
        _, *words = (self.directory / "log.check").read_text().splitlines()
        return commands.call(*words)


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
    assert finished.modules == ["workflow.settings"]


@pytest.mark.parametrize("preset", ["tiny", "auto"], ids=["named", "chosen"])
def test_nothing_is_read_or_trained_before_the_check(scratch, preset):
    """Which is made once."""
    given = (*GIVEN, f"PRESET={preset}")
    scratch.make("labels", *given, FAILING=CHECK)
    assert scratch.modules == [CHECK]
    scratch.make("labels", *given, FAILING="teacher.train")
    first, *others = scratch.modules
    assert first == CHECK
    assert CHECK not in others
    assert others[-1] == "teacher.train"
    assert ("workflow.choose" in others) == (preset == "auto")
    # It was chosen before, so that make does not start again.
    scratch.make("labels", *given, FAILING="teacher.train")
    assert scratch.modules.count(CHECK) == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["MACHINE=g2-standard-8"], "g2-standard-8 has a GPU, and bills it"),
        (["MACHINE=n1-standard-4", "ACCELERATOR=nvidia-l4"], "machine type g2-"),
        (
            ["DATAFLOW_FLAGS=--machine_type=g2-standard-8", "ACCELERATOR=nvidia-l4"],
            "g2-standard-8 has a GPU, and bills it",  # Of the other jobs.
        ),
        (
            [
                "DATAFLOW_FLAGS=--flexrs_goal=COST_OPTIMIZED",
                "ACCELERATOR=nvidia-tesla-t4",
            ],
            "has no GPUs",
        ),
        (["DATAFLOW_FLAGS=--num_worker=3"], "did you mean --num_workers?"),
        (["DATAFLOW_FLAGS=--flexrs_goal=CHEAP"], "invalid choice: 'CHEAP'"),
        (["MAX_HOURS=2000"], "expected --max_hours from 0.1 to 744"),
        (["LABELING_FLAGS=--engin=openvino"], "'engin'"),
        (["LABELING_FLAGS=--engine=onnx"], "onnx"),
        (["LABELING_FLAGS=--dtype=float61"], "float61"),
        (["LABELING_FLAGS=word"], "'word'"),
        (["LABELING_FLAGS=--label_feature=x --noembeddings"], "needs --embeddings"),
        (["LABELING_FLAGS=--blended"], "--blended needs --estimate"),
        (["LABELING_FLAGS=--estimate=5"], "expected no --estimate"),
        (
            ["LABELING_FLAGS=--engine=openvino", "ACCELERATOR=nvidia-l4"],
            "expected --engine=tensorflow with nvidia-l4",
        ),
        (
            ["RATE=20", "MACHINE=c4-standard-8"],
            "to beam_jobs/runners/prices.json",
        ),
    ],
)
def test_options_that_no_job_could_have_are_refused_by_the_check(
    scratch, given, reason
):
    ended = scratch.make("labels", *GIVEN, *given, FAILING=CHECK)
    assert ended.returncode == 2
    assert scratch.modules == [CHECK]
    refused = scratch.check()
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1
    assert reason in refused.stderr


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
        *("BUCKET=My_Bucket", "BUCKET=ab", "BUCKET=-ab", "BUCKET=my-bucket-"),
        *("BUCKET=192.168.5.4", "BUCKET=goog-images", f"BUCKET={'a' * 64}"),
        *("ACCELERATOR=nvidia-foo", "ACCELERATOR=cpu", "ACCELERATOR=tpu-v5e"),
    ],
)
def test_what_no_job_could_do_is_refused_before_a_teacher_is_trained(scratch, given):
    name = given.partition("=")[0]
    ended = scratch.make("records", *GIVEN, given)
    assert ended.returncode == 2
    assert f"expected {name}=" in ended.stderr
    assert scratch.modules == []


def test_images_of_this_machine_are_refused_where_none_are_given(scratch):
    sources = ("IMAGES=", "LABELED=", "EVALUATION=")
    given = [word for word in GIVEN if not word.startswith(sources)]
    ended = scratch.make("labels", *given)
    assert "expected IMAGES= in a bucket (gs://)" in ended.stderr
    assert scratch.modules == []


@pytest.mark.parametrize(
    "name", ["abc", "a_b", "1234", "images.example.com", f"{'a' * 60}.{'b' * 60}"]
)
def test_buckets_may_have_the_names_that_google_allows(scratch, name):
    ended = scratch.make("--dry-run", "labels", *GIVEN, f"BUCKET={name}")
    assert ended.returncode == 0, ended.stderr


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
