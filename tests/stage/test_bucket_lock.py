"""Locks in a bucket, against a server that obeys preconditions on generations."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import google.cloud.storage
import psutil
import pytest
from google.auth.credentials import AnonymousCredentials

from benchmarks.launcher.bucket_server import BUCKET, BucketServer, Objects
from stage import artifact, bucket_lock
from stage.bucket_lock import BucketLock, LockLostError
from stage.parts import WHOLE, HeldError, Part
from tests.commands import ENVIRONMENT, ROOT

DIRECTORY = f"gs://{BUCKET}/runs/out"
LOCK = "runs/out/.lock"


def make_client():
    return google.cloud.storage.Client(project="p", credentials=AnonymousCredentials())


@pytest.fixture
def server(monkeypatch):
    with BucketServer(Objects()) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setitem(ENVIRONMENT, "STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setattr(bucket_lock, "_client", [make_client])
        yield server


def test_a_process_starts_once():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = bucket_lock._process_start(child.pid)
    assert started == bucket_lock._process_start(child.pid)
    assert started >= bucket_lock._process_start(os.getpid())
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # It is a zombie.
    assert bucket_lock._process_start(child.pid) is None
    child.communicate()
    assert bucket_lock._process_start(child.pid) is None


def make_lock():
    return BucketLock(DIRECTORY, make_client())


def content(server):
    return json.loads(server.objects.get(LOCK).content)


def write(server, **changes):
    """Writes the lock of another process, with these changes to this process's."""
    holder = {**json.loads(bucket_lock._this_process().to_json()), **changes}
    server.objects.put(LOCK, json.dumps(holder).encode())


def move_clock(server, seconds):
    now = server.objects.clock()
    server.objects.clock = lambda: now + seconds


def test_a_directory_is_locked_until_the_block_ends(server):
    with artifact.locked(DIRECTORY):
        held = content(server)
        assert held["pid"] == os.getpid()
        assert "@" in held["owner"] and held["started"] and held["renewed"]
    assert server.objects.get(LOCK) is None
    with pytest.raises(KeyError), artifact.locked(DIRECTORY):
        raise KeyError
    assert server.objects.get(LOCK) is None


def test_a_second_start_is_refused_with_one_line_that_names_the_first(server):
    first = make_lock()
    first.acquire()
    move_clock(server, 40)
    with (
        pytest.raises(ValueError, match="40 s ago") as error,
        artifact.locked(DIRECTORY),
    ):
        pass
    message, held = str(error.value), content(server)
    assert "\n" not in message
    for part in (held["owner"], str(os.getpid()), held["started"], DIRECTORY):
        assert part in message
    first.release()
    make_lock().acquire()


@pytest.mark.parametrize(("seconds", "is_stale"), [(290, False), (310, True)])
def test_a_lock_that_is_not_renewed_becomes_stale(server, seconds, is_stale):
    make_lock().acquire()
    move_clock(server, seconds)
    expected = contextlib.nullcontext() if is_stale else pytest.raises(ValueError)
    with expected:
        make_lock().acquire()


def test_a_renewed_lock_is_not_stale(server):
    first = make_lock()
    first.acquire()
    move_clock(server, 290)
    first.renew()
    move_clock(server, 290)
    with pytest.raises(ValueError, match="290 s ago"):
        make_lock().acquire()
    first.release()
    assert server.objects.get(LOCK) is None


def test_the_clock_of_this_machine_does_not_matter(server, monkeypatch):
    move_clock(server, 10**6)
    make_lock().acquire()
    with pytest.raises(ValueError, match=r"\b0 s ago"):
        make_lock().acquire()


def ended_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("changes", "is_gone"),
    [
        (lambda: {"pid": ended_pid()}, True),
        # The number was given to another process.
        (lambda: {"process_started": 1}, True),
        (dict, False),
        (lambda: {"pid": ended_pid(), "machine": "another"}, False),
        (lambda: {"pid": ended_pid(), "machine": ""}, False),
    ],
)
def test_the_lock_of_a_process_of_this_machine_that_has_ended(server, changes, is_gone):
    write(server, **changes())
    expected = contextlib.nullcontext() if is_gone else pytest.raises(ValueError)
    with expected:
        make_lock().acquire()


@pytest.mark.parametrize("text", [b"", b"[]", b'{"pid": "\x1b[2J"}', b"\xff"])
def test_a_lock_that_says_nothing_is_held_until_it_is_stale(server, text):
    server.objects.put(LOCK, text)
    with pytest.raises(ValueError, match="another process"):
        make_lock().acquire()
    move_clock(server, 301)
    make_lock().acquire()


def test_a_lock_that_another_process_took_over_is_noticed_and_left_alone(server):
    first, second = make_lock(), make_lock()
    first.acquire()
    move_clock(server, 301)
    second.acquire()
    token = content(server)["token"]
    with pytest.raises(LockLostError, match=re.escape(DIRECTORY)):
        first.renew()
    first.release()
    assert content(server)["token"] == token
    second.renew()


def test_a_lock_that_was_deleted_is_lost(server):
    lock = make_lock()
    lock.acquire()
    server.objects.delete(LOCK)
    with pytest.raises(LockLostError, match="deleted"):
        lock.renew()


def test_of_two_that_take_over_a_stale_lock_one_gets_it(server):
    make_lock().acquire()
    move_clock(server, 301)
    first, second = make_lock(), make_lock()
    first._generation = second._generation = first._find_free(bucket_lock.NAME)
    first.acquire()
    with pytest.raises(ValueError, match="writing"):
        second.acquire()


def test_a_write_whose_answer_was_lost_is_recognized(server):
    lock = make_lock()
    lock.acquire()
    assert lock._write(0)
    lock.renew()


class Rounds:
    """In place of the event that a lock is released: what happens between renewals."""

    def __init__(self, *steps):
        self.seconds = []
        self._steps = iter(steps)

    def wait(self, seconds):
        self.seconds.append(seconds)
        next(self._steps)()
        return self.is_set()

    def is_set(self):
        return False


def test_a_lock_is_renewed_until_it_is_lost(server):
    lock, generations, lost = make_lock(), [], []
    lock.acquire()

    def look():
        generations.append(server.objects.get(LOCK).generation)

    rounds = Rounds(look, look, look, lambda: server.objects.delete(LOCK))
    bucket_lock._keep(lock, rounds, lost.append)
    assert generations == sorted(set(generations))
    assert len(generations) == 3
    assert rounds.seconds == [bucket_lock.RENEW_SECONDS] * 4
    (error,) = lost
    assert "deleted" in str(error)


def test_a_renewal_that_fails_is_tried_again(server, monkeypatch):
    lock = make_lock()
    lock.acquire()
    first = server.objects.get(LOCK).generation
    renew, failures = lock.renew, [OSError, TimeoutError]

    def fail_twice():
        if failures:
            raise failures.pop()
        renew()

    def look():
        assert server.objects.get(LOCK).generation == first

    monkeypatch.setattr(lock, "renew", fail_twice)
    lost = []
    rounds = Rounds(look, look, look, lambda: server.objects.delete(LOCK))
    bucket_lock._keep(lock, rounds, lost.append)
    assert len(lost) == 1


def test_the_lock_is_no_part_of_an_artifact(server, tmp_path):
    (tmp_path / bucket_lock.NAME).touch()
    artifact.check_startable(tmp_path)
    artifact.start_or_resume(tmp_path, {})
    artifact.delete_unfinished(tmp_path)
    assert (tmp_path / bucket_lock.NAME).exists()
    artifact.complete(tmp_path, seconds=0)
    assert list(artifact.read_completed(tmp_path).files) == ["config.json"]


def test_what_only_asks_for_the_time_is_deleted(server):
    make_lock().acquire()
    with pytest.raises(ValueError):
        make_lock().acquire()
    assert server.objects.list_page("", "", 9) == ([LOCK], False)


def test_a_service_that_cannot_be_reached_is_an_error_of_one_line(monkeypatch):
    def fail():
        raise RuntimeError("no\ncredentials")

    monkeypatch.setattr(bucket_lock, "_client", [fail])
    with (
        pytest.raises(OSError, match=re.escape(DIRECTORY)) as error,
        artifact.locked(DIRECTORY),
    ):
        pass
    assert "\n" not in str(error.value)


def test_without_googles_client_there_is_no_lock(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.storage", None)
    monkeypatch.setattr(bucket_lock, "_client", [bucket_lock._make_client])
    monkeypatch.delattr("google.cloud.storage")
    with artifact.locked(DIRECTORY):
        pass


HOLDING = """
import sys, time
from stage import artifact, cli
from stage.flags import CommandFlags
from beam_jobs.runners import supervisor

def main(argv):
    with artifact.locked(sys.argv[1]):
        print("locked", flush=True)
        time.sleep(99)

sys.argv, directory = sys.argv[:1], sys.argv[1:]
sys.argv += directory
cli.run(RUN, CommandFlags())
"""


@contextlib.contextmanager
def holding(run):
    """Starts a command that holds the lock until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING.replace("RUN", run), DIRECTORY],
        cwd=ROOT,
        env={**ENVIRONMENT, "GOOGLE_CLOUD_PROJECT": "p"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("run", ["main", "supervisor.supervised(main)"])
def test_ctrl_c_releases_the_lock(server, run):
    with holding(run) as process:
        assert server.objects.get(LOCK) is not None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1
    assert server.objects.get(LOCK) is None


def test_a_command_whose_process_was_killed_is_resumed_at_once(server):
    with holding("main") as process, pytest.raises(ValueError):
        make_lock().acquire()
    assert process.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(process.pid)
    with artifact.locked(DIRECTORY):
        assert content(server)["pid"] == os.getpid()


def test_a_command_ends_when_its_lock_is_lost(server):
    program = HOLDING.replace("RUN", "main").replace(
        "import sys, time", "import sys, time\nfrom stage import bucket_lock"
    )
    program = program.replace(
        "def main", "bucket_lock._keep.__defaults__ = (0.01,)\ndef main"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, DIRECTORY],
        cwd=ROOT,
        env={**ENVIRONMENT, "GOOGLE_CLOUD_PROJECT": "p"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    server.objects.delete(LOCK)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1 and DIRECTORY in errors


# --- parts ---------------------------------------------------------------------
def test_parts_run_side_by_side_but_each_only_once(server):
    with artifact.locked(DIRECTORY, Part(0, 2)), artifact.locked(DIRECTORY, Part(1, 2)):
        for part in (Part(0, 2), WHOLE, Part(0, 3)):
            with (
                pytest.raises(HeldError, match=r"delete \.part-[01]-of-2\.lock"),
                artifact.locked(DIRECTORY, part),
            ):
                pass
    with artifact.locked(DIRECTORY) as is_locked:
        assert is_locked
        with (
            pytest.raises(HeldError, match=r"delete \.lock"),
            artifact.locked(DIRECTORY, Part(0, 2)),
        ):
            pass
    assert server.objects.list_page("runs/out/", "", 10)[0] == []


def test_the_lock_of_a_part_is_taken_over_when_it_is_stale(server):
    BucketLock(DIRECTORY, make_client(), Part(0, 2)).acquire()
    move_clock(server, 301)
    for part in (WHOLE, Part(0, 3), Part(0, 2)):
        with artifact.locked(DIRECTORY, part):
            pass


def test_of_two_that_create_an_object_the_first_does(server):
    path = f"{DIRECTORY}/config.json"
    assert bucket_lock.create(path, b"1") is True
    assert bucket_lock.create(path, b"2") is False
    assert server.objects.get("runs/out/config.json").content == b"1"
