"""Building the container of Dataflow's workers, with stand-ins that only tell."""

import dataclasses
import os
import re
import sys

import pytest

from beam_jobs.runners.dataflow import container as content
from infra import container
from stage import cli
from tests import documents
from tests.workflow.dataflow import recorded
from workflow.chain.runners import container_image
from workflow.run_file.reading import read_run

STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
pwd >> {log}.directory
case "$*" in *"$FAILING"*) exit 1 ;; esac
"""


def section(**values):
    config = read_run(None, recorded.SETTINGS)
    return dataclasses.replace(config.runner.dataflow, **values)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Runs the command; returns its status and the calls of gcloud and docker."""
    log = tmp_path / "log"
    for name in ("gcloud", "docker"):
        (tmp_path / name).write_text(STAND_IN.format(log=log))
        (tmp_path / name).chmod(0o755)

    def build(*flags, failing="nothing fails"):
        log.write_text("")
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setenv("FAILING", failing)
        settings = [f"--set={text}" for text in recorded.SETTINGS]
        status = cli.call(container.main, container.FLAGS, [*settings, *flags])
        return status, log.read_text().splitlines()

    return build


@pytest.mark.parametrize("builder", ["cloud", "docker"])
@pytest.mark.parametrize(
    ("accelerator", "worker"),
    [("", "cpu"), ("nvidia-tesla-t4", "nvidia"), ("nvidia-l4", "nvidia")],
)
def test_the_container_is_built_for_the_accelerator(
    build, tmp_path, builder, accelerator, worker
):
    given = f"--set=runner.dataflow.accelerator={accelerator}"
    status, calls = build(given, f"--builder={builder}")
    assert status == 0
    image = container_image(section(accelerator=accelerator))
    assert re.fullmatch(
        "us-central1-docker.pkg.dev/my-project/noisy-student-rs/"
        rf"worker-{worker}:py{sys.version_info[0]}\.{sys.version_info[1]}-[0-9a-f]+",
        image,
    )
    assert all(image in call for call in calls)
    assert f"EXTRAS={content.EXTRAS[worker]}" in calls[0]
    assert f"PYTHON_MINOR={content.PYTHON_MINOR}" in calls[0]
    last = {"cloud": "gcloud builds submit", "docker": "docker push"}[builder]
    assert calls[-1].startswith(last)
    directories = (tmp_path / "log.directory").read_text().split()
    assert set(directories) == {str(content.ROOT)}


def test_a_container_of_the_users_is_built_by_its_name(build):
    given = ("--set=runner.dataflow.image=docker.io/mine/worker:1", "--builder=docker")
    _, calls = build(*given)
    assert "--tag=docker.io/mine/worker:1 " in calls[0]
    assert calls[1] == "docker push docker.io/mine/worker:1"


def test_what_is_not_built_is_not_pushed(build, capsys):
    status, calls = build("--builder=docker", failing="build")
    assert status == 1
    assert len(calls) == 1
    assert capsys.readouterr().err == "error: docker ended with status 1\n"


def test_without_the_builder_it_is_named(build, tmp_path, capsys):
    (tmp_path / "docker").unlink()
    for folder in ("/usr/bin", "/bin"):
        if os.path.exists(f"{folder}/docker"):
            pytest.skip("docker is in a folder of the system")
    status, _ = build("--builder=docker")
    assert status == 1
    assert capsys.readouterr().err.startswith("error: expected docker on the PATH")


def test_labeling_on_a_tpu_is_refused(build, capsys):
    status, calls = build("--set=runner.dataflow.accelerator=tpu-v5e")
    assert status == 1
    assert not calls
    assert "tpu-v5e" in capsys.readouterr().err


@documents.needs_gcloud
def test_gcloud_knows_the_command(tmp_path):
    ((_, *words),) = container.commands(section(), "cloud")
    assert documents.refused_by_gcloud([words], tmp_path) == {}
