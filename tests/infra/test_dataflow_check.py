"""`make dataflow-check`, on recorded answers of gcloud."""

import os
import signal
import subprocess
import sys

import pytest

from infra import dataflow_check as command
from stage import cli
from tests.commands import ROOT
from tests.workflow.dataflow import recorded
from tests.workflow.dataflow.recorded import DENIED, MISSING
from workflow.dataflow import gcloud as commands
from workflow.dataflow import queries
from workflow.dataflow.findings import NO_ANSWER, Answer


@pytest.fixture
def gcloud(tmp_path, monkeypatch):
    gcloud = recorded.Gcloud(tmp_path)
    monkeypatch.setenv("PATH", gcloud.environment["PATH"])
    monkeypatch.setattr("workflow.chain.runners.image_name", lambda **_: recorded.IMAGE)
    return gcloud


@pytest.fixture
def check(capsys):
    """Runs the command; returns its status and the lines that it prints."""

    def run(*flags, given=()):
        settings = [f"--set={text}" for text in (*recorded.SETTINGS, *given)]
        status = cli.call(command.main, command.FLAGS, [*flags, *settings])
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
    given = ("accelerator=nvidia-tesla-t4", "max_workers=17")
    status, lines = check(given=[f"runner.dataflow.{text}" for text in given])
    assert status == 1
    assert any(line.startswith("FAIL quota NVIDIA_T4_GPUS: 17 ") for line in lines)


def test_wrong_options_are_refused_as_the_job_would_refuse_them(check, gcloud):
    status, (line,) = check(given=["runner.dataflow.max_hours=2000"])
    assert status == 1
    assert line.startswith("error: expected --max_hours ")
    assert not gcloud.folder.joinpath("calls").exists()


@pytest.mark.parametrize("name", ["project", "region", "bucket"])
def test_a_missing_setting_is_named_with_its_variable_of_make(capsys, name):
    given = [text for text in recorded.SETTINGS if f".{name}=" not in text]
    flags = [f"--set={text}" for text in given]
    assert cli.call(command.main, command.FLAGS, flags) == 1
    error = capsys.readouterr().err
    assert f"--set=runner.dataflow.{name}=" in error
    assert f"(make: {name.upper()}=)" in error
    assert error.count("\n") == 1


def test_a_run_file_is_read(check, gcloud, tmp_path):
    gcloud.record(recorded.job("--max_num_workers=30"))
    run_file = tmp_path / "run.toml"
    run_file.write_text('output = "x"\nrunner.dataflow.max_workers = 30\n')
    status, lines = check(str(run_file))
    assert status == 1
    assert any(line.startswith("FAIL quota N2_CPUS: 120 ") for line in lines)
    status, (line,) = check(str(run_file), "other.toml")
    assert status == 1
    assert line.startswith("error: expected one run file")


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
    given = [f"data.unlabeled={images}"]
    if images.startswith("tfds:b"):
        given.append("data.data_dir=gs://their-images/tfds")
    status, lines = check(given=given)
    assert status == 1
    assert [line.partition(": type")[0] for line in lines if line[:4] == "FAIL"] == [
        "FAIL images' bucket: no gs://their-images"
    ]


def test_interrupted_it_has_changed_nothing(gcloud):
    """By a gcloud that tells when it was called, and does not answer."""
    fifo = gcloud.folder / "fifo"
    os.mkfifo(fifo)
    gcloud.program.write_text(f"#!/bin/sh\necho here > {fifo}\nexec sleep 1000\n")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "infra.dataflow_check"),
            *(f"--set={text}" for text in recorded.SETTINGS),
        ],
        cwd=ROOT,
        env={**gcloud.environment, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert fifo.read_text().startswith("here")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "interrupted; nothing was changed\n")
