"""A small command that starts workers, run by `supervised` in a real process."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from beam_jobs.runners import supervisor
from tests.commands import ROOT

#: Each start writes its process id into `root`, starts a worker, and does `$steps`.
PROGRAM = """
import pathlib, subprocess, sys, threading, time
from beam_jobs.runners import supervisor
from stage import cli
from stage.flags import CommandFlags

root = pathlib.Path(sys.argv.pop())

def die(*, has_progress, code="9", log=cli.log):
    supervisor.end_after_death(
        code, has_progress=has_progress, log=log, save_log=lambda: "the.log")

def main(argv):
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
    start = len(list(root.glob("start-*")))
    path = root / "hidden"
    path.write_text(f"{supervisor.os.getpid()} {worker.pid}")
    path.rename(root / f"start-{start}")
    STEPS

BEFORE
cli.run(RUN, CommandFlags())
"""


@pytest.fixture
def command(tmp_path):
    """Starts a command of some steps; ends what it has started."""
    started = []

    def start(steps, *, run="supervisor.supervised(main)", before="", **more):
        body = textwrap.indent(textwrap.dedent(steps), "    ").lstrip()
        program = PROGRAM.replace("STEPS", body).replace("RUN", run)
        program = program.replace("BEFORE", textwrap.dedent(before))
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **more,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for child, worker in processes(tmp_path):
        for pid in (child, worker):
            if psutil.pid_exists(pid):
                psutil.Process(pid).kill()


def processes(root):
    """Returns the child and the worker of each start."""
    paths = sorted(root.glob("start-*"))
    return [tuple(map(int, path.read_text().split())) for path in paths]


def wait_for_start(root):
    deadline = time.monotonic() + 60
    while not processes(root):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return processes(root)[0]


def wait_for_end(*pids):
    """Waits until processes are gone or zombies."""

    def is_running(pid):
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    deadline = time.monotonic() + 60
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("status", [0, 1, 75, 101, 255])
def test_a_command_that_ends_by_itself_runs_once(command, tmp_path, status):
    process = command(f"worker.kill(); print('done'); sys.exit({status})")
    assert process.communicate(timeout=60)[0] == "done\n"
    assert process.returncode == status
    assert len(processes(tmp_path)) == 1


def test_restarts_without_progress_are_limited(command, tmp_path):
    process = command("die(has_progress=False)")
    lines = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 1
    assert len(processes(tmp_path)) == supervisor.MAX_DEATHS + 1
    assert len(lines) == supervisor.MAX_DEATHS + 1
    assert "the.log" in lines[-1]
    assert not any("the.log" in line for line in lines[:-1])
    wait_for_end(*(pid for pair in processes(tmp_path) for pid in pair))


def test_progress_allows_more_restarts(command, tmp_path):
    process = command(
        """
        if start < 9:
            die(has_progress=start % 3 == 2)
        worker.kill()
        """
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(processes(tmp_path)) == 10


def test_a_job_that_fails_as_its_workers_are_killed_is_restarted(command, tmp_path):
    process = command(
        """
        if start == 0:
            arguments = {"has_progress": True, "log": lambda line: time.sleep(0.5)}
            threading.Thread(target=die, kwargs=arguments, daemon=True).start()
            worker.wait()
            sys.exit(1)
        worker.kill()
        """
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(processes(tmp_path)) == 2


def test_the_status_is_known_if_the_end_of_children_is_ignored(command):
    process = command(
        "worker.kill(); sys.exit(75)",
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    assert not process.communicate(timeout=60)[0]
    assert process.returncode == 75


def test_without_a_supervisor_a_death_ends_the_command(command, tmp_path):
    process = command("die(has_progress=True)", run="main")
    assert "the.log" in process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert len(processes(tmp_path)) == 1


WAIT = "time.sleep(99)"
RESUMABLE = "interrupted; the same command resumes it"


def test_an_interrupt_ends_all_processes_at_once(command, tmp_path):
    process = command(WAIT)
    pids = wait_for_start(tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(output.splitlines()) == 1
    wait_for_end(*pids)


@pytest.mark.parametrize(
    ("callback", "line"),
    [
        ("lambda _: 'the job goes on'", "the job goes on"),
        (
            "lambda _: worker.kill() or supervisor.os._exit(1)",
            RESUMABLE,
        ),
    ],
)
def test_an_interrupt_calls_the_callbacks_of_the_child(
    command, tmp_path, callback, line
):
    process = command(
        f"""
        from stage.interruption import on_interrupt
        with on_interrupt({callback}):
            print("ready", flush=True)
            time.sleep(99)
        """
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == line + "\n"
    assert process.returncode == 130
    wait_for_end(processes(tmp_path)[0][0])


def test_an_interrupt_ends_a_child_whose_native_code_holds_the_lock(command, tmp_path):
    process = command(
        """
        import re
        print("ready", flush=True)
        re.match("(a+)+$", 60 * "a" + "b")
        """
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert len(process.communicate(timeout=60)[0].splitlines()) == 1
    assert process.returncode == 130
    wait_for_end(*processes(tmp_path)[0])


def test_an_interrupt_right_after_the_fork_is_handled_by_the_parent(command, tmp_path):
    process = command(
        "worker.kill()",
        before="""
        import os, signal

        def fork_and_interrupt(fork=os.fork):
            pid = fork()
            if not pid:
                os.kill(os.getpid(), signal.SIGINT)
            return pid

        os.fork = fork_and_interrupt
        """,
    )
    assert not process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert len(processes(tmp_path)) == 1


#: The parent alone tells what the child has announced: lines of two would mix.
TELLING = """
import os
from stage import interruption

def announce_and_tell(line, announce=interruption.announce, parent=os.getpid()):
    announce(line)
    if os.getpid() == parent:
        print("announced", flush=True)

interruption.announce = announce_and_tell
"""
ANNOUNCING = """
import threading
from stage.interruption import announce, on_interrupt

def hang(number):
    announce("not yet")
    threading.Event().wait()

with on_interrupt(hang, seconds=99):
    print("ready", flush=True)
    time.sleep(99)
"""


def test_a_second_interrupt_prints_what_the_child_has_announced(command, tmp_path):
    process = command(ANNOUNCING, before=TELLING)
    for line in ("ready", "announced"):
        assert process.stdout.readline() == line + "\n"
        process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "not yet\n"
    assert process.returncode == 130
    wait_for_end(processes(tmp_path)[0][0])


def test_no_process_outlives_a_parent_that_is_killed(command, tmp_path):
    process = command(WAIT)
    pids = wait_for_start(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    wait_for_end(*pids)


#: Gives the parent time to notice that the child has ended.
ENDING_SLOWLY = """
from stage import system

def kill_slowly(kill=system.kill_children):
    kill()
    time.sleep(0.5)

system.kill_children = kill_slowly
"""


@pytest.mark.parametrize("is_child_alone", [False, True])
def test_sigterm_ends_all_processes_with_a_line(command, tmp_path, is_child_alone):
    process = command(WAIT, before=ENDING_SLOWLY)
    child, worker = wait_for_start(tmp_path)
    os.kill(child if is_child_alone else process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert output == RESUMABLE + "\n"
    wait_for_end(child, worker)


TERMINATED_WITH_ITS_WORKER = """
import os
from stage.interruption import on_interrupt

is_noticed = threading.Event()
reader, writer = os.pipe()

def watch():
    code = str(worker.wait())
    os.write(writer, b"1")
    is_noticed.set()
    die(has_progress=True, code=code)

threading.Thread(target=watch, daemon=True).start()
with on_interrupt(lambda _: is_noticed.wait() and "cleaned up", seconds=99):
    print("ready", flush=True)
    os.read(reader, 1)
    sys.exit("error: there are no workers")
"""


def test_sigterm_to_all_processes_is_no_failure_of_the_job(command, tmp_path):
    process = command(
        TERMINATED_WITH_ITS_WORKER,
        before="supervisor._NOTICE_SECONDS = 60",
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == "cleaned up\n"
    assert process.returncode == 143
    assert len(processes(tmp_path)) == 1
    wait_for_end(*processes(tmp_path)[0])


def test_sigterm_to_a_worker_alone_restarts_the_job(command, tmp_path):
    process = command(
        """
        if start == 0:
            worker.terminate()
            die(has_progress=True, code=str(worker.wait()))
        worker.kill()
        """,
        before="supervisor._NOTICE_SECONDS = 0",
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert len(processes(tmp_path)) == 2


def test_a_child_that_is_killed_ends_the_command(command, tmp_path):
    process = command(WAIT)
    child, worker = wait_for_start(tmp_path)
    psutil.Process(child).kill()
    psutil.Process(worker).kill()
    assert "SIGKILL" in process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGKILL
    assert len(processes(tmp_path)) == 1


def test_signals_without_a_name_end_a_command_too():
    assert supervisor._exit_status(40) == 128 + 40


def test_nothing_heavy_is_imported_before_the_fork():
    code = "import sys; import beam_jobs.label_images; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert not {"apache_beam", "numpy", "tensorflow"} & set(found.stdout.split())
    assert pathlib.Path(supervisor.__file__).stem in found.stdout
