"""What the hosts of a slice run, with stand-ins for the programs that set them up."""

import re
import subprocess
import tarfile

import pytest

from infra.tpu import job
from infra.tpu.slices import find_slice
from tests import documents
from tests.infra.tpu.conftest import SHARDS, TRAINING
from tests.infra.tpu.stand_in_gcloud import WORKDIR

#: Tells how it was called; `python` ends with a status of the test's choice.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
case "$(basename "$0") $*" in
"gcloud storage cp gs://"*) cp {code} . ;;
"uv venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
curl*) echo 'mkdir -p .local/bin; cp {programs}/uv .local/bin/uv' ;;
"python "*) exit {status} ;;
esac
"""


@pytest.fixture
def boot(tmp_path):
    """Boots a host; returns what its programs were asked."""

    def boot(training, status):
        programs, log = tmp_path / "programs", tmp_path / "calls"
        programs.mkdir(exist_ok=True)
        job.archive_code(tmp_path)
        values = {"log": log, "code": tmp_path / "code.tar.gz", "programs": programs}
        for name in ("gcloud", "curl", "uv", "make"):
            (programs / name).write_text(PROGRAM.format(status=status, **values))
            (programs / name).chmod(0o755)
        log.write_text("")
        ended = subprocess.run(
            ["/bin/sh", "-c", training.startup_script()],
            env={
                "PATH": f"{programs}:/usr/bin:/bin",
                "DIRECTORY": str(tmp_path / "host"),
            },
            check=False,
        )
        return ended.returncode, log.read_text().splitlines()

    return boot


def plan(*words, accelerator_type="v5litepod-32"):
    return job.plan([*TRAINING, SHARDS, *words], find_slice(accelerator_type))


def test_flags_for_a_tpu_are_added():
    assert plan().arguments[-3:] == (
        "--backend=jax",
        "--distributed=auto",
        "--set=dtype=bfloat16",
    )
    alone = plan("--set=dtype=float32", accelerator_type="v5litepod-8").arguments
    assert alone[-1] == "--backend=jax"
    assert "--set=dtype=bfloat16" not in alone


@pytest.mark.parametrize("start", ["hf:timm/resnetrs50.tf_in1k", "gs://b/runs/other"])
def test_weights_may_be_downloaded_or_lie_in_a_bucket(start):
    assert f"--init_from={start}" in plan(f"--init_from={start}").arguments


def test_trainings_have_machines_of_their_own():
    tpu = find_slice("v5litepod-32")
    other = [flag.replace(WORKDIR, f"{WORKDIR}-2") for flag in (*TRAINING, SHARDS)]
    names = {
        job.plan(words, tpu).machine_name for words in ((*TRAINING, SHARDS), other)
    }
    assert len(names) == 2
    assert all(re.fullmatch("[a-z][-a-z0-9]{,61}[a-z0-9]", name) for name in names)


def test_the_code_is_that_of_the_last_commit(tmp_path):
    line = job.archive_code(tmp_path)
    with tarfile.open(tmp_path / "code.tar.gz") as archive:
        names = archive.getnames()
    assert {"Makefile", "constraints.txt", "teacher/train.py"} <= set(names)
    commit = subprocess.check_output(
        ["git", "rev-parse", "--short", "HEAD"], cwd=job.ROOT, text=True
    ).strip()
    assert f"commit {commit}" in line


def test_a_host_sets_itself_up_once_and_trains_at_every_boot(boot):
    training = plan("--class_names=gs://b/it's a name.txt")
    status, calls = boot(training, 0)
    assert status == 0
    named = [line.split()[0] for line in calls]
    assert named == ["gcloud", "curl", "uv", "make", "python", "gcloud"]
    assert calls[2] == "uv venv --seed --python=3.12 .venv"
    assert calls[3] == "make setup TPU=vm"
    assert calls[4] == "python " + " ".join(training.arguments)
    assert calls[5].startswith(f"gcloud storage cp log {WORKDIR}.machine/")
    _, again = boot(training, 0)
    assert [line.split()[0] for line in again] == ["gcloud", "make", "python", "gcloud"]


@pytest.mark.parametrize(("status", "is_failure"), [(0, False), (75, False), (1, True)])
def test_a_failure_is_reported_a_preemption_is_not(boot, status, is_failure):
    ended, calls = boot(plan(), status)
    assert ended == status
    assert (f"{WORKDIR}.machine/failed-" in calls[-1]) == is_failure


@documents.needs_shellcheck
def test_the_script_is_posix_shell():
    script = plan("--class_names=gs://b/it's a name.txt").startup_script()
    assert documents.shellcheck(script) == ""


def test_code_that_is_in_no_repository_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"commit of a git repository"):
        job.archive_code(tmp_path)
