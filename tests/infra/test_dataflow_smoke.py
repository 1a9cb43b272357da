"""`make dataflow-smoke`, with a directory for the bucket and a local job in the end.

All else is real: the check of recorded answers, the digits, the teacher, the labels.
"""

import re
import sys

import pytest

from infra import dataflow_smoke
from stage import cli
from tests.commands import ROOT
from tests.gcloud_parser import commands_in, needs_gcloud, refusals
from tests.infra.scratch import Scratch
from tests.workflow.dataflow import recorded

GIVEN = ("PROJECT=my-project", "REGION=us-central1", "BUCKET=my-bucket")
#: Runs a module with the bucket's directory for its address. Dataflow's options of the
#: labeling job are left out, so that it is a local one.
PYTHON = """#!{interpreter} -S
import os, sys
words = sys.argv[1:]
if words[1].partition(".")[0] in ("teacher", "beam_jobs"):
    words = [word.replace("gs://my-bucket", {bucket!r}) for word in words]
if words[1] == "beam_jobs.label_images":
    with open({log!r}, "a") as log:
        log.write(" ".join(sys.argv[1:]) + "\\n")
    words = words[: words.index("--")]
os.execv({interpreter!r}, [{interpreter!r}, *words])
"""
#: Copies, if it is asked to; else it plays back.
GCLOUD = """#!/bin/sh
echo "gcloud $*" >> {log}
here() {{ echo "$1" | sed 's#^gs://my-bucket#{bucket}#'; }}
case "$1 $2 $4" in
"storage cat "*) exec cat "$(here "$3")" ;;
"storage cp "*) exec cp "$(here "$3")" "$(here "$4")" ;;
"storage rsync --delete-unmatched-destination-objects")
    rm -rf "$(here "$6")" && mkdir -p "$(here "$6")" && cp -r "$5/." "$(here "$6")" ;;
"storage rsync "*) mkdir -p "$(here "$6")" && cp -r "$(here "$5")/." "$(here "$6")" ;;
*) exec {player} "$@" ;;
esac
"""


@pytest.fixture
def player(tmp_path):
    (tmp_path / "player").mkdir()
    return recorded.Gcloud(tmp_path / "player")


@pytest.fixture
def scratch(tmp_path, player, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    scratch = Scratch(
        tmp_path,
        python=PYTHON,
        gcloud=GCLOUD,
        interpreter=sys.executable,
        player=player.program,
    )
    player.record(job(scratch))
    return scratch


def job(scratch):
    """Returns the job that make describes."""
    lines = scratch.make("--dry-run", "dataflow-check", *GIVEN).stdout
    (image,) = set(re.findall(r"--sdk_container_image=\S+", lines))
    return recorded.job(image, "--max_num_workers=1")


@pytest.mark.slow
def test_a_hundred_images_are_labeled_and_counted(scratch):
    stale = scratch.bucket / "runs/smoke/round-1/predictions/COMPLETED"
    stale.parent.mkdir(parents=True)
    stale.write_text("of another day")
    ended = scratch.make("dataflow-smoke", *GIVEN)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "labeled 100 of 100 images" in ended.stdout
    assert "gcloud storage rm --recursive gs://my-bucket/runs/smoke" in ended.stdout
    (job,) = scratch.calls("beam_jobs.label_images")
    flags, options = job.split(" -- ")
    assert "--runner=DataflowRunner" in options
    assert {"--max_num_workers=1", "--max_hours=1"} <= set(options.split())
    # The engine of all runs on Dataflow, not that of the demo.
    assert [word for word in flags.split() if "--engine" in word] == [
        "--engine=openvino"
    ]
    assert (scratch.bucket / "runs/smoke/round-1/predictions/COMPLETED").exists()
    predictions = scratch.directory / "runs/smoke/round-1/predictions"
    assert dataflow_smoke.count_statuses(str(predictions)) == {"ok": 100}
    flags = (f"--predictions={predictions}", "--remote=gs://b/x", "--num_images=101")
    assert cli.call(dataflow_smoke.main, dataflow_smoke.FLAGS, flags) == 1


@pytest.mark.parametrize("where", ["command line", "environment"])
def test_variables_of_the_job_to_come_are_not_for_this_one(scratch, where):
    settings = {
        "LABELED": "folder:birds/labeled",
        "EVALUATION": "folder:birds/test",
        "PRESET": "auto",
        "TEACHERS": "3",
        "ROUND": "2",
        "MAX_WORKERS": "40",
    }
    words = ["--dry-run", "dataflow-smoke", *GIVEN, "DATAFLOW_FLAGS=--network=my-net"]
    plain = scratch.make(*words).stdout
    assert "--set=num_steps=100" in plain
    assert "--network=my-net" in plain
    given = [f"{name}={value}" for name, value in settings.items()]
    is_environment = where == "environment"
    ended = (
        scratch.make(*words, **settings)
        if is_environment
        else scratch.make(*words, *given)
    )
    assert ended.returncode == 0, ended.stderr
    one = "--max_num_workers=1"
    assert "birds" not in ended.stdout
    assert ended.stdout.count(one) == plain.count(one)


def test_nothing_begins_if_something_is_missing(scratch, player):
    player.record(job(scratch), errors={"bucket": recorded.MISSING["bucket"]})
    ended = scratch.make("dataflow-smoke", *GIVEN)
    assert ended.returncode == 2
    assert "FAIL bucket: no gs://my-bucket: type: gcloud " in ended.stdout
    assert not (scratch.directory / "runs").exists()
    assert not scratch.bucket.exists()


@needs_gcloud
@pytest.mark.slow
@pytest.mark.parametrize(
    "targets",
    [
        ("dataflow-smoke",),
        ("container",),
        ("records", "RUNNER=dataflow", "IMAGES=tfrecord:gs://my-bucket/images/*"),
    ],
)
def test_gcloud_knows_the_commands_of_make(scratch, tmp_path, targets):
    lines = scratch.make("--dry-run", *targets, *GIVEN).stdout
    commands = set(commands_in(lines))
    assert commands
    assert refusals(sorted(commands), tmp_path) == {}
