"""The command around a training, with a stand-in for gcloud."""

import hashlib
import shutil
import signal
import subprocess
import sys

import pytest

from infra.tpu import gcloud, loop
from tests import documents
from tests.commands import ENVIRONMENT, ROOT
from tests.infra.tpu.conftest import MACHINE_FLAGS, SHARDS, TRAINING
from tests.infra.tpu.stand_in_gcloud import WORKDIR

WAITING = "WAITING_FOR_RESOURCES"
#: Of this workdir alone, so that no command deletes another training's machine.
NAME = f"noisy-student-rs-{hashlib.sha256(WORKDIR.encode()).hexdigest()[:8]}"


def train_to_failure(cloud, said):
    """Trains, and asserts that all ends after one machine, for the reason `said`."""
    ended = cloud.train()
    assert ended.returncode == 1
    assert said in ended.stderr
    assert len(cloud.did("create")) == 1
    assert "may be on" not in ended.stdout


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
        "--valid-until-duration=24h",
    }
    assert (
        f"to delete it by hand: gcloud compute tpus queued-resources delete {NAME}"
        in (ended.stdout)
    )
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
    assert "may be on" not in ended.stdout


def test_a_deletion_whose_answer_is_lost_is_this_commands(cloud):
    cloud.tell(["ACTIVE", "SUSPENDED"], ["ACTIVE", "complete"], lost={"delete": 1})
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert "connection reset" in ended.stdout
    assert len(cloud.did("create")) == 2


def test_hours_count_though_the_answer_to_a_deletion_is_lost(cloud):
    story = ["ACTIVE", "2.2 hours", "SUSPENDED"]
    cloud.tell(story, ["ACTIVE", "complete"], lost={"delete": 1})
    ended = cloud.train("--max_hours=2.5")
    assert ended.returncode == 1
    assert "--max_hours=2.5" in ended.stderr
    assert len(cloud.did("create")) == 1


@pytest.mark.parametrize(
    ("story", "said"),
    [
        (["ACTIVE", "fail"], f"{WORKDIR}.machine/failed-"),
        (["0 hours booting", "1.1 hours booting"], "its account needs the bucket"),
        (["ACTIVE", "stop"], "--max_hours=24"),
    ],
)
def test_the_reason_is_told_though_the_answer_to_the_deletion_is_lost(
    cloud, story, said
):
    cloud.tell(story, lost={"delete": 1})
    train_to_failure(cloud, said)


def test_the_reason_is_told_though_no_deletion_is_confirmed(cloud, monkeypatch):
    monkeypatch.setattr(loop, "_MAX_ERRORS", 3)
    cloud.tell(["ACTIVE", "fail"], refusals=9)
    ended = cloud.train()
    assert ended.returncode == 1
    assert f"{WORKDIR}.machine/failed-" in ended.stderr
    assert "FAILED_PRECONDITION" in ended.stderr
    assert "may be on, and billed" in ended.stdout


def test_a_refused_request_is_no_machine(cloud, monkeypatch):
    monkeypatch.setattr(loop, "_MAX_ERRORS", 3)
    cloud.tell(["SUSPENDED"])
    ended = cloud.train("--max_starts=2")
    assert ended.returncode == 1
    assert "RESOURCE_EXHAUSTED" in ended.stderr
    assert len(cloud.did("create")) == 4


def test_a_request_whose_answer_is_lost_is_a_machine(cloud):
    cloud.tell(["SUSPENDED"], ["SUSPENDED"], ["ACTIVE", "complete"], lost={"create": 2})
    ended = cloud.train("--max_starts=2")
    assert ended.returncode == 1
    assert "not complete after 2 machines" in ended.stderr


def test_a_deletion_that_is_not_confirmed_is_told(cloud, monkeypatch):
    monkeypatch.setattr(loop, "_MAX_ERRORS", 3)
    cloud.tell(["SUSPENDED"], refusals=9)
    ended = cloud.train()
    assert ended.returncode == 1
    assert "may be on, and billed" in ended.stdout
    assert cloud.now == 0


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


@pytest.mark.parametrize("end", ["fail", "stop", "complete", "25 hours"])
def test_a_deletion_that_is_refused_at_first_is_tried_again(cloud, end):
    cloud.tell(["ACTIVE", "ACTIVE", end], refusals=3)
    ended = cloud.train()
    assert ended.returncode == (end != "complete")
    assert len(cloud.did("delete")) == 4
    assert cloud.now is None
    assert "may be on" not in ended.stdout


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
    assert ended.stdout.count(f"queued-resources delete {NAME}") == 1


def test_a_kept_machine_stays_and_its_end_is_told(cloud):
    cloud.tell(["ACTIVE", "complete"])
    ended = cloud.train("--keep", "--nospot")
    assert ended.returncode == 0, ended.stderr
    assert cloud.now == 0 and not cloud.did("delete")
    assert "--spot" not in cloud.did("create")[0]
    assert f"queued-resources delete {NAME}" in ended.stdout
    assert "to train for 24 hours, 768 chip-hours; it stays on" in ended.stdout


def test_a_kept_machine_must_be_deleted_before_its_training_resumes(cloud):
    cloud.tell(["ACTIVE", "stop"])
    for times in (2, 2):  # At the start and at the end, by either command.
        ended = cloud.train("--keep")
        assert ended.returncode == 1
        assert "delete the machine, then the same command resumes" in ended.stderr
        assert ended.stdout.count(f"queued-resources delete {NAME}") == times
        assert "may be on" not in ended.stdout
    assert cloud.now == 0 and not cloud.did("delete")


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
    assert "may be on" not in ended.stdout


@pytest.mark.parametrize("data", [(), ("gs://b/tfds/imagenet2012_subset/info.json",)])
def test_without_images_nothing_is_created(cloud, data):
    cloud.tell(["ACTIVE", "complete"], data=data)
    ended = cloud.train()
    assert ended.returncode == 1
    assert "gs://b/tfds/imagenet2012/" in ended.stderr
    assert not cloud.did("create")
    assert "may be on" not in ended.stdout


# --- limits --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("location", "said"), [("US-CENTRAL1", False), ("EUROPE-WEST4", True)]
)
def test_a_bucket_in_another_region_is_told(cloud, location, said):
    cloud.tell(["complete"], location=location)
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    told = "gs://b is in europe-west4, the machine in us-central1-a: what it reads"
    assert (told in ended.stdout) == said


def test_a_machine_is_deleted_at_the_limit(cloud):
    cloud.tell(["ACTIVE", "ACTIVE", "23.9 hours", "24.1 hours"])
    ended = cloud.train()
    assert ended.returncode == 1
    assert "--max_hours=24" in ended.stderr
    assert cloud.now is None
    assert "may be on" not in ended.stdout
    # Its hosts have told the training before.
    assert f"LIMIT={int(23.75 * 3600)}\n" in cloud.script


def test_a_machine_is_deleted_when_its_hosts_have_stopped(cloud):
    cloud.tell(["ACTIVE", "stop"])
    ended = cloud.train()
    assert ended.returncode == 1
    assert "--max_hours=24" in ended.stderr
    assert cloud.now is None


def test_the_limit_is_of_all_machines_together(cloud):
    second = ["ACTIVE", "ACTIVE", "1.4 hours", "1.6 hours"]
    cloud.tell(["ACTIVE", "1 hours", "SUSPENDED"], second)
    ended = cloud.train("--max_hours=2.5")
    assert ended.returncode == 1
    assert "--max_hours=2.5" in ended.stderr
    assert len(cloud.did("create")) == 2
    assert cloud.now is None
    seconds = int(cloud.script.partition("LIMIT=")[2].partition("\n")[0])
    assert seconds == pytest.approx(1.25 * 3600, abs=60)


def test_hosts_have_stopped_before_their_machine_is_deleted(cloud):
    # Created in more than an hour, booted half an hour later: the hosts stop 0.75 hours
    # after that, say so at 2.85, and must not have been deleted.
    booting = [f"{hours} hours booting" for hours in (1.5, 2)]
    cloud.tell([*booting, "2.1 hours", "2.2 hours", "2.84 hours", "complete"])
    ended = cloud.train("--max_hours=1")
    assert f"LIMIT={int(0.75 * 3600)}\n" in cloud.script
    assert ended.returncode == 0, ended.stderr


def test_a_machine_of_an_earlier_command_counts_from_about_its_creation(cloud):
    reported = [f"{WORKDIR}.machine/started-w-0"]
    cloud.tell(["24.8 hours", "25.1 hours", "fail"], now=0, objects=reported)
    ended = cloud.train()
    assert ended.returncode == 1
    assert "--max_hours=24" in ended.stderr
    assert cloud.now is None


def test_no_machine_is_created_for_minutes(cloud):
    cloud.tell(["ACTIVE", "2.2 hours", "SUSPENDED"], ["ACTIVE", "complete"])
    ended = cloud.train("--max_hours=2.5")
    assert ended.returncode == 1
    assert len(cloud.did("create")) == 1


def test_after_a_stop_the_same_command_resumes(cloud):
    cloud.tell(["ACTIVE", "complete"], objects=[f"{WORKDIR}.machine/stopped-w-0"])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert not [name for name in cloud.objects if "stopped" in name]


def test_the_largest_bill_is_told_if_the_price_is_given(cloud):
    cloud.tell(["ACTIVE", "complete"])
    told = cloud.train("--price_per_chip_hour=1.2").stdout
    assert "to train for at most 24 hours, 768 chip-hours, 921.60 in all" in told
    cloud.tell(["ACTIVE", "complete"])
    told = cloud.train("--max_hours=0.5").stdout
    assert "at most 0.5 hours, 16 chip-hours\n" in told


def test_google_ends_machines_of_flex_start(cloud):
    cloud.tell(["ACTIVE", "complete"])
    ended = cloud.train("--nospot", "--flex_start", "--max_hours=30")
    assert ended.returncode == 0, ended.stderr
    (created,) = cloud.did("create")
    assert created[0] == "alpha"
    flags = {"--provisioning-model=flex-start", "--max-run-duration=108000s"}
    assert flags <= set(created)
    assert "--spot" not in created


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--flex_start"], "--nospot"),
        (["--flex_start", "--nospot", "--max_hours=169"], "--max_hours"),
    ],
)
def test_what_flex_start_lacks_is_refused(cloud, flags, named):
    ended = cloud.train(*flags)
    assert ended.returncode == 1
    assert named in ended.stderr
    assert not cloud.calls


# --- machines without a word ---------------------------------------------------
@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], "deleted, and not by this command"),
        (["fail"], f"{WORKDIR}.machine/failed-"),
        (["stop"], "--max_hours"),
    ],
)
def test_what_others_have_deleted_is_not_created_again(cloud, events, said):
    cloud.tell(["ACTIVE", *events, "gone"], ["ACTIVE", "complete"])
    train_to_failure(cloud, said)


def test_a_call_without_an_answer_is_made_again(cloud, monkeypatch):
    monkeypatch.setattr(gcloud, "_MAX_SECONDS", 5)
    cloud.tell(["ACTIVE", "hang", "complete"])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert "no answer within 5 seconds" in ended.stdout
    assert cloud.now is None


def test_hosts_that_never_report_end_the_machine(cloud):
    cloud.tell(["0.9 hours booting", "1.8 hours booting", "2 hours booting"])
    ended = cloud.train()
    assert ended.returncode == 1
    assert f"report of a host in {WORKDIR}.machine" in ended.stderr
    assert "is ACTIVE" in ended.stdout
    assert cloud.looks == 3
    assert cloud.now is None


def test_a_machine_in_another_zone_is_found(cloud):
    note = f"{WORKDIR}.machine/at-europe-west4-b.{NAME}"
    cloud.tell(["ACTIVE"], now=0, zone="europe-west4-b", objects=[note])
    ended = cloud.train()
    assert ended.returncode == 1
    assert f"delete {NAME} --zone=europe-west4-b --force" in ended.stderr
    assert not cloud.did("create")
    # One that was deleted by hand has left its note.
    cloud.tell(["ACTIVE", "complete"], objects=[note])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    places = [name for name in cloud.objects if ".machine/at-" in name]
    assert places == [f"{WORKDIR}.machine/at-us-central1-a.{NAME}"]


def test_a_complete_training_tells_of_a_machine_in_another_zone(cloud):
    note = f"{WORKDIR}.machine/at-europe-west4-b.{NAME}"
    objects = [note, f"{WORKDIR}/COMPLETED"]
    cloud.tell(["ACTIVE"], now=0, zone="europe-west4-b", objects=objects)
    ended = cloud.train()
    assert ended.returncode == 1
    assert f"complete: {WORKDIR}" in ended.stdout
    assert f"delete {NAME} --zone=europe-west4-b --force" in ended.stderr


def test_an_answer_without_a_word_is_no_word_of_a_deletion(cloud):
    cloud.tell(["ACTIVE", "silence", "complete"])
    ended = cloud.train()
    assert ended.returncode == 0, ended.stderr
    assert "trying again: gcloud compute tpus queued-resources" in ended.stdout
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
    cloud.tell(["ACTIVE", "complete"])
    assert cloud.train("--nospot", "--flex_start").returncode == 0
    flexible = cloud.did("create")
    asked = {tuple(call[:4]) for call in calls if call[0] == "compute"}
    assert {call[2:] for call in asked} == {
        *[("queued-resources", name) for name in ("create", "describe", "delete")],
        ("tpu-vm", "describe"),
    }
    storage = {call[1] for call in calls if call[0] == "storage"}
    assert storage == {"buckets", "cp", "ls", "objects", "rm"}
    calls += flexible
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
        ((*TRAINING, SHARDS, "--workdir=gs://b/runs/t[1]"), "without blanks, wild"),
        ((*TRAINING, SHARDS, "--workdir=gs://b/runs/my t"), "without blanks, wild"),
        ((*TRAINING, SHARDS, "--workdir=gs://b/runs/./t"), "without blanks, wild"),
        ((*TRAINING, SHARDS, "--workdir=gs://b//t"), "without blanks, wild"),
        ((*TRAINING, SHARDS, "--workdir=gs://b/"), "directory of a bucket"),
        ((*TRAINING, SHARDS, "--data_dir=/data"), "--data_dir=gs://"),
        ((*TRAINING, SHARDS, "--labeled=folder:/birds"), "--labeled=folder:/birds"),
        ((*TRAINING, SHARDS, "--class_names=/birds.txt"), "gs:// in --class_names"),
        ((*TRAINING, SHARDS, "--init_from=runs/other"), "gs:// in --init_from"),
        (TRAINING[:3], "--evaluation="),
        ((*TRAINING, SHARDS, "--labeled=tfds:imagenet2012"), "tfds:NAME:SPLIT"),
        ((*TRAINING, SHARDS, "--backend=tensorflow"), "--backend=jax"),
        ((*TRAINING, SHARDS, "--distributed=h:1,8,0"), "--distributed=auto"),
        ((*TRAINING, SHARDS, "--help"), "python -m teacher.train --help"),
        (("teacher.train", "--help"), "python -m teacher.train --help"),
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


@pytest.mark.parametrize("notice", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "machine", [{"now": None}, {"now": 0}], ids=["own", "of an earlier command"]
)
def test_a_signal_says_what_is_billed_and_how_to_end_it(cloud, notice, machine):
    cloud.tell(["ACTIVE", "hang"] if machine["now"] is None else ["hang"], **machine)
    with subprocess.Popen(
        [sys.executable, "-m", "infra.tpu", *MACHINE_FLAGS, "--", *TRAINING, SHARDS],
        cwd=ROOT,
        env={**ENVIRONMENT, "PATH": cloud.search_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert cloud.fifo.read_text() == "here"
        process.send_signal(notice)
        output, _ = process.communicate()
    assert process.returncode == 128 + notice, output
    assert "may be on, and billed" in output
    place = f"{NAME} --zone=us-central1-a"
    assert f"gcloud compute tpus queued-resources delete {place} --force" in output
    assert "gcloud compute tpus queued-resources list --zone=us-central1-a" in output
    assert cloud.now == 0
