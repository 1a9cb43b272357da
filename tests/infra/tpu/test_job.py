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

#: Tells how it was called; `python` does what a test tells it to.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
case "$(basename "$0") $*" in
"gcloud storage cp gs://"*) cp {code} . ;;
"uv venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
curl*) echo 'mkdir -p .local/bin; cp {programs}/uv .local/bin/uv' ;;
"python "*) {trains} ;;
"gcloud {refused} "*) exit 1 ;;
esac
"""
#: A training that goes on until it is told to stop, and saves its state.
GOES_ON = "trap 'exit 75' TERM; /bin/sleep 60 & wait"
DELETE = "compute tpus queued-resources delete rs --zone=z --force"


@pytest.fixture
def boot(tmp_path):
    """Boots a host; returns what its programs were asked."""

    def boot(training, trains, *, seconds=3600, delete="", refused="nothing"):
        programs, log = tmp_path / "programs", tmp_path / "calls"
        programs.mkdir(exist_ok=True)
        job.archive_code(tmp_path)
        values = {"log": log, "code": tmp_path / "code.tar.gz", "programs": programs}
        values |= {"trains": trains, "refused": refused}
        for name in ("gcloud", "curl", "uv", "make", "sleep"):
            (programs / name).write_text(PROGRAM.format(**values))
            (programs / name).chmod(0o755)
        log.write_text("")
        script = training.startup_script(seconds=seconds, delete=delete)
        ended = subprocess.run(
            ["/bin/sh", "-c", script],
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
    status, calls = boot(training, "exit 0")
    assert status == 0
    named = [line.split()[0] for line in calls]
    assert named == ["gcloud", "gcloud", "curl", "uv", "make", "python", "gcloud"]
    assert f"{WORKDIR}.machine/started-" in calls[0]
    assert calls[3] == "uv venv --seed --python=3.12 .venv"
    assert calls[4] == "make setup TPU=vm"
    assert calls[5] == "python " + " ".join(training.arguments)
    assert calls[6].startswith(f"gcloud storage cp log {WORKDIR}.machine/")
    _, again = boot(training, "exit 0")
    assert [line.split()[0] for line in again] == [*named[:2], *named[4:]]


@pytest.mark.parametrize(("status", "is_failure"), [(0, False), (75, False), (1, True)])
def test_a_failure_is_reported_a_preemption_is_not(boot, status, is_failure):
    ended, calls = boot(plan(), f"exit {status}")
    assert ended == status
    assert (f"{WORKDIR}.machine/failed-" in calls[-1]) == is_failure


def test_at_the_limit_the_training_saves_its_state_and_the_host_says_so(boot):
    status, calls = boot(plan(), GOES_ON, seconds=0)
    assert status == 75
    assert f"{WORKDIR}.machine/stopped-" in calls[-1]
    # The limit is that of the first boot.
    status, calls = boot(plan(), GOES_ON, seconds=3600)
    assert status == 75
    assert f"{WORKDIR}.machine/stopped-" in calls[-1]


@pytest.mark.parametrize("trains", ["exit 0", "exit 1", "exit 75"])
def test_hosts_delete_the_slice_if_nobody_else_has(boot, trains):
    _, calls = boot(plan(), trains, delete=DELETE)
    assert calls[-2:] == ["sleep 900", f"gcloud {DELETE}"]
    # As of gcloud before 467.
    _, calls = boot(plan(), trains, delete=DELETE, refused="compute")
    assert calls[-2:] == [f"gcloud {DELETE}", f"gcloud alpha {DELETE}"]


def test_hosts_delete_the_slice_without_a_bucket_to_write_to(boot):
    status, calls = boot(plan(), "exit 0", delete=DELETE, refused="storage")
    assert status == 1
    assert not [line for line in calls if line.startswith("python")]
    assert calls[-2:] == ["sleep 900", f"gcloud {DELETE}"]


def test_a_kept_slice_is_not_deleted_by_its_hosts(boot):
    _, calls = boot(plan(), "exit 0", delete="")
    assert not [line for line in calls if "delete" in line or "sleep" in line]


@documents.needs_gcloud
def test_gcloud_parses_what_hosts_tell_it(tmp_path):
    commands = [[*track, *DELETE.split()] for track in ((), ("alpha",))]
    assert documents.refused_by_gcloud(commands, tmp_path) == {}


@documents.needs_shellcheck
def test_the_script_is_posix_shell():
    training = plan("--class_names=gs://b/it's a name.txt")
    script = training.startup_script(seconds=60, delete=DELETE)
    assert documents.shellcheck(script) == ""


@pytest.mark.parametrize(
    ("flag", "address"),
    [
        ("--unlabeled=folder:gs://b/birds", "gs://b/birds"),
        ("--unlabeled=tfrecord:gs://b/birds/*.tfrecord", "gs://b/birds/*.tfrecord"),
        ("--unlabeled=tfds:birds/small:train[:50%]", "gs://b/tfds/birds/small/"),
        ("--unlabeled=tfds:gs://c/birds/1.0.0/:train", "gs://c/birds/1.0.0/"),
        ("--class_names=gs://b/names.txt", "gs://b/names.txt"),
        ("--init_from=resnet_rs_h5:gs://b/weights.h5", "gs://b/weights.h5"),
    ],
)
def test_what_a_training_reads_is_known_before(flag, address):
    assert plan(flag).reads == ("gs://b/tfds/imagenet2012/", address)


def test_downloads_are_not_looked_for_in_a_bucket():
    training = plan("--init_from=hf:timm/resnetrs50.tf_in1k")
    assert training.reads == ("gs://b/tfds/imagenet2012/",)


def test_code_that_is_in_no_repository_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(job, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"commit of a git repository"):
        job.archive_code(tmp_path)
