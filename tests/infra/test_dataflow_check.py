import os
import signal
import subprocess
import sys

import pytest

from stage import cli
from tests.commands import ROOT
from tests.workflow.dataflow import recorded
from tests.workflow.dataflow.recorded import DENIED, MISSING, OPTIONS
from workflow.dataflow import __main__ as command
from workflow.dataflow import gcloud as commands
from workflow.dataflow import queries
from workflow.dataflow.findings import NO_ANSWER, Answer


@pytest.fixture
def gcloud(tmp_path, monkeypatch):
    gcloud = recorded.Gcloud(tmp_path)
    monkeypatch.setenv("PATH", gcloud.environment["PATH"])
    return gcloud


@pytest.fixture
def check(capsys):
    """Runs the command; returns its status and the lines that it prints."""

    def run(*flags, options=()):
        status = cli.call(
            command.main, command.FLAGS, [*flags, "--", *OPTIONS, *options]
        )
        out, err = capsys.readouterr()
        return status, out.splitlines() or err.splitlines()

    return run


def test_a_project_that_has_all_is_ok(check, gcloud):
    gcloud.record(recorded.job())
    status, lines = check()
    assert status == 0
    assert {line.split()[0] for line in lines} == {"ok"}
    job = recorded.job()
    asked = {**queries.for_access(job), **queries.for_job(job)}.values()
    assert sorted(gcloud.calls) == sorted(map(" ".join, asked))


def test_what_is_missing_is_one_line_with_the_command(check, gcloud):
    gcloud.record(recorded.job(), errors=MISSING)
    status, lines = check()
    assert status == 1
    failed = [line for line in lines if line.startswith("FAIL ")]
    assert len(failed) == len(MISSING)
    assert all(": type: " in line for line in failed)


@pytest.mark.parametrize("name", ["bucket", "region", "project_roles", "image"])
def test_what_is_forbidden_is_not_known_and_no_failure(check, gcloud, name):
    gcloud.record(recorded.job(), errors={name: DENIED})
    status, lines = check()
    assert status == 0
    unknown = [line for line in lines if line.startswith("?  ")]
    assert unknown
    assert all("PERMISSION_DENIED" in line for line in unknown)


@pytest.mark.parametrize("output", ["", None], ids=["nothing", "null"])
def test_what_is_not_understood_is_not_known(check, gcloud, output):
    gcloud.record(recorded.job(), billing=output, machine_types=output)
    status, lines = check()
    assert status == 0
    unknown = [line for line in lines if line.startswith("?  ")]
    why = "gcloud's answer is not understood: expected"
    assert unknown == [
        f"?    billing: {why} an object",
        f"?    n2-standard-4 in us-central1: {why} a list",
    ]
    assert check("--before_training") == (0, [])


def test_a_query_that_hangs_is_not_known(check, gcloud, monkeypatch):
    """Played back, as other queries need a time that depends on the machine."""
    ask = commands.ask

    def hang(asked, *, time_limit):
        late = Answer(reason=f"{NO_ANSWER} within {time_limit:g} seconds")
        return {**ask(asked, time_limit=1000), "bucket": late}

    monkeypatch.setattr(commands, "ask", hang)
    gcloud.record(recorded.job())
    status, lines = check("--time_limit=3")
    assert status == 0
    assert "?    bucket: gcloud did not answer within 3 seconds" in lines


def test_without_gcloud_its_page_is_named(check, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, (line,) = check()
    assert status == 1
    assert line.startswith("FAIL gcloud: not installed: type: see https://")


def test_the_accelerators_quota_is_that_of_the_options(check, gcloud):
    options = ("--accelerator=nvidia-tesla-t4", "--max_num_workers=17")
    gcloud.record(recorded.job(*options))
    status, lines = check(options=options)
    assert status == 1
    assert any(line.startswith("FAIL quota NVIDIA_T4_GPUS: 17 ") for line in lines)


def test_wrong_options_are_refused_as_the_job_would_refuse_them(check, gcloud):
    status, (line,) = check(options=("--accelerator=nvidia-m5",))
    assert status == 1
    assert line.startswith("error: ")


@pytest.mark.parametrize(
    "images",
    [
        *("folder:gs://their-images/x", "tfds:birds:train"),
        "tfds:gs://their-images/birds/1.0.0/:train",
    ],
)
def test_the_bucket_of_the_images_is_looked_at(check, gcloud, images):
    job = recorded.job(images="gs://their-images/tfds")
    gcloud.record(job, errors={"images_bucket": MISSING["bucket"]})
    data = ["--data_dir=gs://their-images/tfds"] if images.startswith("tfds:b") else []
    status, lines = check(f"--images={images}", *data)
    assert status == 1
    assert [line.partition(": type")[0] for line in lines if line[:4] == "FAIL"] == [
        "FAIL images' bucket: no gs://their-images"
    ]


def test_options_of_the_other_jobs_are_refused_too(check):
    other = ("--", *OPTIONS, "--machine_type=g2-standard-8")
    status, (line,) = check(options=("--accelerator=nvidia-l4", *other))
    assert status == 1
    assert line.startswith("error: g2-standard-8 has a GPU, and bills it")


def test_interrupted_it_has_changed_nothing(gcloud):
    """By a gcloud that tells when it was called, and does not answer."""
    fifo = gcloud.folder / "fifo"
    os.mkfifo(fifo)
    gcloud.program.write_text(f"#!/bin/sh\necho here > {fifo}\nexec sleep 1000\n")
    with subprocess.Popen(
        [sys.executable, "-m", "workflow.dataflow", "--", *OPTIONS],
        cwd=ROOT,
        env={**gcloud.environment, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert fifo.read_text().startswith("here")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "interrupted; nothing was changed\n")


class TestBeforeTraining:
    """What make looks at before it chooses or trains."""

    def test_nothing_is_printed_if_all_is_there(self, check, gcloud):
        gcloud.record(recorded.job())
        assert check("--before_training") == (0, [])
        assert len(gcloud.calls) == 5

    @pytest.mark.parametrize(
        ("name", "words", "line"),
        [
            ("image", MISSING["image"], f"FAIL container: no {recorded.IMAGE}: type: "),
            (
                "image",
                DENIED,
                f"?    container: cannot see {recorded.IMAGE}: PERMISSION",
            ),
            (
                "application_login",
                "ERROR: (gcloud.x) none",
                "FAIL login for Beam: none",
            ),
        ],
    )
    def test_anything_else_stops(self, check, gcloud, name, words, line):
        gcloud.record(recorded.job(), errors={name: words})
        status, (found,) = check("--before_training")
        assert status == 1
        assert found.startswith(line)
