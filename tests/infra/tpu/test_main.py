"""The command around a training, with a stand-in for gcloud."""

import hashlib
import shutil
import signal
import subprocess
import sys

import pytest

from infra.tpu import loop
from tests import documents
from tests.commands import ENVIRONMENT, ROOT
from tests.infra.tpu.conftest import MACHINE_FLAGS, SHARDS, TRAINING
from tests.infra.tpu.stand_in_gcloud import WORKDIR

WAITING = "WAITING_FOR_RESOURCES"
#: Of this workdir alone, so that no command deletes another training's machine.
NAME = f"noisy-student-rs-{hashlib.sha256(WORKDIR.encode()).hexdigest()[:8]}"


def test_a_machine_is_created_and_deleted_when_the_training_is_complete(cloud):
    cloud.tell([WAITING, "PROVISIONING", "ACTIVE", "complete"])
    ended = cloud.train("--project=my-project")
    assert ended.returncode == 0, ended.stderr
    assert "spot v5litepod-32 (32 chips, 8 hosts) in us-central1-a" in ended.stdout
    (created,) = cloud.did("create")
    assert set(created[4:]) >= {
        NAME,
        f"--node-id={NAME}",
        "--zone=us-central1-a",
        "--project=my-project",
        "--accelerator-type=v5litepod-32",
        "--runtime-version=v2-alpha-tpuv5-lite",
        "--spot",
    }
    (deleted,) = cloud.did("delete")
    assert {NAME, "--force", "--project=my-project"} <= set(deleted)
    assert cloud.now is None
    assert "may be on" not in ended.stdout


@pytest.mark.parametrize("end", ["SUSPENDED", "FAILED", "vm preempted"])
def test_a_preempted_machine_is_deleted_and_created_again(cloud, end):
    cloud.tell([WAITING, "ACTIVE", end], ["ACTIVE", "complete"])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert len(cloud.did("create")) == len(cloud.did("delete")) == 2
    assert cloud.now is None


def test_machines_are_not_created_for_ever(cloud):
    cloud.tell(*[["SUSPENDED"]] * 9)
    ended = cloud.train("--max_starts=3")
    assert ended.returncode == 1
    assert "not complete after 3 machines" in ended.stderr
    assert len(cloud.did("create")) == 3
    assert cloud.now is None


def test_a_complete_training_creates_nothing(cloud):
    cloud.tell(objects=[f"{WORKDIR}/COMPLETED"])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert not cloud.did("create") and not cloud.did("delete")


def test_a_failed_training_ends_its_machine_and_names_the_log(cloud):
    cloud.tell(["ACTIVE", "fail"])
    ended = cloud.train()
    assert ended.returncode == 1
    assert f"{WORKDIR}.machine/failed-" in ended.stderr
    assert cloud.now is None


def test_hosts_that_fail_as_others_are_preempted_are_no_failure(cloud):
    cloud.tell(["ACTIVE", "fail", "ACTIVE", "SUSPENDED"], ["ACTIVE", "complete"])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert len(cloud.did("create")) == 2
    assert not [name for name in cloud.objects if "failed" in name]


def test_a_running_machine_is_watched_not_created(cloud):
    cloud.tell(["ACTIVE", "ACTIVE", "complete"], now=0)
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert not cloud.did("create")
    assert cloud.now is None


def test_a_kept_machine_stays_and_its_end_is_told(cloud):
    cloud.tell(["ACTIVE", "complete"])
    ended = cloud.train("--keep", "--nospot")
    assert ended.returncode == 0, ended.stderr
    assert cloud.now == 0 and not cloud.did("delete")
    assert "--spot" not in cloud.did("create")[0]
    assert f"queued-resources delete {NAME}" in ended.stdout


def test_a_sleeping_laptop_ends_nothing(cloud):
    cloud.tell(["ACTIVE", *["offline"] * 3, "ACTIVE", "complete"])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("connection refused") == 3


def test_a_lost_connection_ends_the_command_at_last(cloud, monkeypatch):
    monkeypatch.setattr(loop, "_MAX_ERRORS", 3)
    cloud.tell(["ACTIVE", "offline"])
    ended = cloud.train()
    assert ended.returncode == 1
    assert "connection refused" in ended.stderr
    assert "may be on, and billed" in ended.stdout
    assert cloud.now == 0


def test_what_gcloud_refuses_first_ends_the_command(cloud):
    cloud.tell()
    ended = cloud.train()
    assert ended.returncode == 1
    assert "RESOURCE_EXHAUSTED" in ended.stderr
    assert len(cloud.did("create")) == 1


def test_without_gcloud_its_page_is_named(cloud, monkeypatch, tmp_path):
    (tmp_path / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = cloud.train()
    assert ended.returncode == 1
    assert "https://cloud.google.com/sdk" in ended.stderr


@documents.needs_gcloud
def test_gcloud_parses_what_it_is_asked(cloud, tmp_path, monkeypatch):
    cloud.tell(["FAILED"], ["fail", "ACTIVE", "SUSPENDED"], ["complete"])
    assert cloud.train("--project=my-project").returncode == 0
    calls = cloud.calls
    asked = {tuple(call[:4]) for call in calls if call[0] == "compute"}
    assert {call[2:] for call in asked} == {
        *[("queued-resources", name) for name in ("create", "describe", "delete")],
        ("tpu-vm", "describe"),
    }
    assert {call[1] for call in calls if call[0] == "storage"} == {"cp", "ls", "rm"}
    calls.append(
        ["compute", "tpus", "queued-resources", "list", "--zone=us-central1-a"]
    )
    monkeypatch.undo()  # From here on gcloud is the real one.
    assert documents.refused_by_gcloud(calls, tmp_path) == {}


@pytest.mark.parametrize(
    ("training", "named"),
    [
        ((*TRAINING, "--set=input_shards=4"), "--set=input_shards=8"),
        (TRAINING, "--set=input_shards=8"),
        ((*TRAINING, SHARDS, "--set=global_batch_size=100"), "global_batch_size"),
        ((*TRAINING, SHARDS, "--no_such_flag=1"), "no_such_flag"),
        ((*TRAINING, SHARDS, "--set=no_such_setting=1"), "no_such_setting"),
        ((*TRAINING, SHARDS, "--workdir=runs/teacher"), "--workdir=gs://"),
        ((*TRAINING, SHARDS, "--data_dir=/data"), "--data_dir=gs://"),
        ((*TRAINING, SHARDS, "--labeled=folder:/birds"), "--labeled=folder:/birds"),
        ((*TRAINING, SHARDS, "--class_names=/birds.txt"), "gs:// in --class_names"),
        ((*TRAINING, SHARDS, "--init_from=runs/other"), "gs:// in --init_from"),
        (TRAINING[:3], "--evaluation="),
        ((*TRAINING, SHARDS, "word"), "'word'"),
        (("teacher.probe",), "teacher.train or student.train"),
        ((), "teacher.train or student.train"),
    ],
)
def test_what_could_not_train_is_refused_before_anything_is_asked(
    cloud, training, named
):
    ended = cloud.train(training=training)
    assert ended.returncode == 1
    assert named in ended.stderr
    assert not cloud.calls


def test_ctrl_c_says_what_is_billed_and_how_to_end_it(cloud):
    cloud.tell(["ACTIVE", "hang"])
    with subprocess.Popen(
        [sys.executable, "-m", "infra.tpu", *MACHINE_FLAGS, "--", *TRAINING, SHARDS],
        cwd=ROOT,
        env={**ENVIRONMENT, "PATH": cloud.search_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert cloud.fifo.read_text() == "here"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 130, output
    assert "may be on, and billed" in output
    place = f"{NAME} --zone=us-central1-a"
    assert f"gcloud compute tpus queued-resources delete {place} --force" in output
    assert "gcloud compute tpus queued-resources list --zone=us-central1-a" in output
    assert cloud.now == 0
