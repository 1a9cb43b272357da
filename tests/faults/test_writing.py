"""Faults while records are written; each can be resumed."""

import shutil
import signal
import tempfile
import time

import pytest

from beam_jobs.writing import job as writing_job
from stage import artifact, cli
from tests import chain
from tests.commands import finish, start
from tests.faults import disks, endings, page
from tests.infra import jobs


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found = chain.make(tmp_path_factory.mktemp("writing") / "run")
    found.write()
    return found


@pytest.fixture
def run(undisturbed, tmp_path):
    """A copy of it whose dataset is still to be written."""
    shutil.copytree(
        undisturbed.root, tmp_path / "run", ignore=shutil.ignore_patterns("dataset")
    )
    return chain.Chain(tmp_path / "run")


def fails(fault, run):
    """Writes, which must fail as the catalog says and publish nothing."""
    job = run.plan()
    with pytest.raises(SystemExit) as failure:
        with cli.exit_on_user_error():
            artifact.start_or_resume(job.output, job.config)
        with cli.exit_on_job_error():
            writing_job.run(job, chain.OPTIONS)
            writing_job.finish(job)
    message = str(failure.value.code)
    assert message.startswith("error: ")
    assert "\n" not in message
    fault.check(message)
    assert not (run.dataset / "COMPLETED").exists()
    assert not (run.dataset / "dataset_info.json").exists()


@page.holds("disk that is too small for the dataset")
def test_a_full_disk(fault, run, undisturbed):
    assert fault.end == endings.FAILED_RESUMABLE
    run.dataset.mkdir()
    with disks.mounted(run.dataset, "size=28k"):
        fails(fault, run)
        disks.remount(run.dataset, "size=10m")
        run.write()
        jobs.compare(run.dataset, undisturbed.dataset)


@page.holds("full temporary directory")
def test_a_full_temporary_directory(fault, run, undisturbed, tmp_path, monkeypatch):
    assert fault.end == endings.FAILED_RESUMABLE
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with disks.mounted(scratch, "size=12k"), monkeypatch.context() as patch:
        # The log of the failure is to be kept elsewhere.
        patch.setattr("beam_jobs.writing.spool.tempfile.tempdir", str(scratch))
        patch.setattr("beam_jobs.runners.local.tempfile.mkstemp", mkstemp_in(tmp_path))
        fails(fault, run)
    assert not list(scratch.iterdir())
    run.write()
    jobs.compare(run.dataset, undisturbed.dataset)


def mkstemp_in(directory):
    mkstemp = tempfile.mkstemp
    return lambda **more: mkstemp(dir=directory, **more)


@page.holds("dataset begun with another number of shards")
def test_another_number_of_shards(fault, undisturbed):
    assert fault.end == endings.REFUSED
    before = {path: path.read_bytes() for path in undisturbed.dataset.iterdir()}
    job = undisturbed.plan(num_shards=5)
    with pytest.raises(SystemExit) as refusal, cli.exit_on_user_error():
        artifact.start_or_resume(job.output, job.config)
    fault.check(str(refusal.value.code))
    assert {path: path.read_bytes() for path in undisturbed.dataset.iterdir()} == before


@pytest.mark.slow
@page.holds("write_records killed")
def test_a_command_that_is_killed(fault, run):
    """Wherever the kill finds it, in what takes a moment only."""
    assert fault.end == endings.RESUMABLE
    words = (
        "beam_jobs.write_records",
        f"--images={run.images}",
        f"--predictions={run.predictions}",
        f"--selection={run.selection}",
        "--num_shards=500",
    )
    finish(start(*words, f"--output={run.root}/undisturbed"))
    process = start(*words, f"--output={run.dataset}")
    while process.poll() is None and not list(run.dataset.glob("pseudo_labels*")):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    finish(start(*words, f"--output={run.dataset}"))
    jobs.compare(run.dataset, run.root / "undisturbed")
