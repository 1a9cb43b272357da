"""The command line of `noisy-student`, in processes of its own; stages are fakes."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios

import click
import pytest
from click.testing import CliRunner

from tests.commands import ENVIRONMENT, ROOT, find_command
from workflow import __main__ as program
from workflow.commands import stage_commands
from workflow.run_file.config import RunConfig

MODULE = "tests.workflow.fake_program"


@pytest.fixture
def flags(tmp_path):
    """Arguments of a run of its own images."""
    for name in ("labeled", "evaluation", "unlabeled"):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a" / f"{name}.png").write_text(name)
    names = ("labeled", "evaluation", "unlabeled")
    sources = [f"--set=data.{name}={tmp_path}/{name}" for name in names]
    return [f"--output={tmp_path}/run", "--set=teacher.preset=tiny", *sources]


def start(*words, module=MODULE, **variables):
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, words)],
        cwd=ROOT,
        env={**ENVIRONMENT, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(*words, **more):
    """Returns the status, the output and the errors of a command."""
    process = start(*words, **more)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


# --- statuses ----------------------------------------------------------------------
def test_statuses_of_a_run(flags, tmp_path):
    status, output, errors = call("run", *flags)
    assert (status, errors) == (0, "")
    assert output.splitlines()[-1] == "reported"
    assert "\x1b" not in output
    assert "\r" not in output
    status, output, errors = call("run", *flags, "--set=selection.max_copies=7")
    assert (status, output) == (program.STALE, "")
    first, *lines = errors.splitlines()
    assert first.startswith("error: stages of ")
    assert "  round-1/selection: --max_copies was 3, is 7" in lines
    assert any("selection.max_copies was 3, is 7" in line for line in lines)
    status, output, errors = call("status", tmp_path / "run")
    assert (status, errors) == (0, "")
    assert "round-1/selection" in output
    assert "\x1b" not in output
    (tmp_path / "run" / "control" / "COMPLETED").unlink()
    status, output, errors = call("run", tmp_path / "run", FAKE_FAILING="/control")
    assert status == 1
    assert "error: control ended with status 3; its last lines, of" in errors


@pytest.mark.parametrize(
    ("words", "status", "mentions"),
    [
        (["run"], 1, "--output="),
        (["run", "nothing.toml"], 1, "noisy-student init"),
        (["run", "--output=x", "--set=teecher.preset=tiny"], 1, "'teacher'"),
        (["run", "--jobs=-1"], 2, "--jobs"),
        (["run", "--until=everything"], 2, "report"),
        (["run", "--round=2"], 2, "rounds.count"),
        (["run", "--untill=labels"], 2, "--until"),
        (["run", "x", "--from="], 2, "--from"),
        (["runn"], 2, "run"),
        (["init", "nothing"], 1, "no folder"),
        (["demo", "--seeds=0"], 2, "--seeds"),
        (["report"], 2, "RUNS"),
        (["report", "nothing"], 1, "nothing"),
        (["report", "--output=x"], 2, "RUNS"),
        (["report", "tests", "--output=x"], 1, "--output=x with several runs"),
        ([], 2, "Usage"),
    ],
)
def test_wrong_words_end_with_their_status(words, status, mentions):
    ended, output, errors = call(*words, module="workflow")
    assert ended == status, errors
    assert mentions in output + errors
    assert "Traceback" not in errors
    assert not pathlib.Path(ROOT, "x").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_the_command_that_goes_on(flags, number):
    process = start("run", *flags, FAKE_WAITING="/member-1")
    for line in process.stdout:
        if "waiting" in line:
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + number
    words = ["noisy-student", "run", *flags]
    assert errors == f"interrupted; {' '.join(words)} goes on from here\n"
    assert call("run", *flags)[0] == 0


def test_a_dry_run_writes_nothing(flags, tmp_path):
    status, output, errors = call("run", *flags, "--dry_run", module="workflow")
    assert (status, errors) == (0, "")
    assert len(output.splitlines()) == 14
    assert all(line.startswith("python -m ") for line in output.splitlines())
    assert not (tmp_path / "run").exists()


def test_another_run_is_taken_over(flags, tmp_path):
    assert call("run", *flags)[0] == 0
    other = ["--output", tmp_path / "b", "--set=selection.max_copies=7"]
    status, output, errors = call("run", "--from", tmp_path / "run", *other)
    assert status == 0, errors
    lines = output.splitlines()
    assert "round-1/predictions: taken from " + str(tmp_path / "run") in lines
    assert "round-1/selection: started" in lines
    assert "max_copies = 7" in (tmp_path / "b" / "run.toml").read_text()
    status, _, errors = call("run", "--from", tmp_path / "run")
    assert status == 1
    assert "--output=" in errors


# --- terminal ----------------------------------------------------------------------
def read_terminal(*words, **variables):
    """Returns what a command prints to a terminal."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, *map(str, words)],
        cwd=ROOT,
        env={**ENVIRONMENT, **variables},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        parts = []
        while True:
            select.select([master], [], [])
            try:
                parts.append(os.read(master, 65536))
            except OSError:  # No process has it open any more.
                break
    os.close(master)
    assert process.returncode == 0, b"".join(parts)
    return b"".join(parts).decode()


def test_a_terminal_shows_a_bar_and_colors(flags, tmp_path):
    shown = read_terminal("run", *flags)
    assert "0 of 14 stages: round-1/teacher/member-1" in shown
    assert "13 of 14 stages" in shown
    lines = [
        line.rpartition("\r")[2] for line in shown.replace("\r\n", "\n").split("\n")
    ]
    assert "round-1/teacher/member-1: started" in lines
    assert lines[-2:] == ["reported", ""]
    colored = read_terminal("status", tmp_path / "run")
    assert "\x1b[32mdone" in colored
    plain = read_terminal("status", tmp_path / "run", NO_COLOR="1")
    assert re.sub("\x1b\\[[0-9]*m", "", colored) == plain


# --- help and completion -----------------------------------------------------------
def test_help_names_all_commands_and_statuses():
    shown = CliRunner().invoke(program.main, ["--help"]).output
    for name in (*program.main.commands, *stage_commands.STAGES):
        assert re.search(rf"^  {name} ", shown, re.MULTILINE), name
    for status in (0, 1, 2, 4, 130, 143):
        assert re.search(rf"\b{status}\b", shown), status


@pytest.mark.parametrize("name", program.main.commands)
def test_each_command_has_a_help(name):
    ended = CliRunner().invoke(program.main, [name, "--help"])
    assert ended.exit_code == 0
    for parameter in program.main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[0] in ended.output


@pytest.mark.parametrize("name", ["run", "rounds", "demo"])
def test_each_command_that_runs_stages_has_what_its_message_names(name):
    flags = {
        flag for given in program.main.commands[name].params for flag in given.opts
    }
    assert {"--remake", "--from", "--output", "--jobs", "--set"} <= flags


@pytest.mark.parametrize("name", stage_commands.STAGES)
def test_each_stage_is_a_command(name):
    module, text = stage_commands.STAGES[name]
    assert hasattr(find_command(module), "FLAGS")
    assert text.endswith(".")


def test_a_stage_gets_its_flags_as_they_are(tmp_path):
    for words in (["label", "--help"], ["label", "--iamges=x"], ["label", "-h"]):
        expected = call(*words[1:], module="beam_jobs.label_images")
        assert call(*words, module="workflow") == expected


def test_all_settings_are_printed():
    shown = CliRunner().invoke(program.main, ["settings"])
    assert shown.exit_code == 0


def complete(*words):
    """Returns what click completes at the end of a command line."""
    status, output, errors = call(
        module="workflow",
        _NOISY_STUDENT_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["noisy-student", *words]),
        COMP_CWORD=str(len(words)),
    )
    assert (status, errors) == (0, ""), errors
    return [line.partition(",")[2] for line in output.splitlines()]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["stat"], ["status"]),
        (["train-"], ["train-teacher", "train-student"]),
        (["run", "--rem"], ["--remake"]),
        (["run", "--until", "re"], ["records", "report"]),
        (["label", "--emb"], ["--embeddings="]),
        (["train-student", "--pseudo"], ["--pseudo_labeled="]),
        (["run", "--set", "selection.max"], ["selection.max_copies="]),
        (["completion", "f"], ["fish"]),
    ],
)
def test_words_are_completed(words, found):
    assert complete(*words) == found


def test_settings_are_completed_by_their_names():
    names = complete("run", "--set", "rounds.")
    assert names == [f"rounds.{name}=" for name in vars(RunConfig().rounds)]


def test_bash_completes_commands(tmp_path):
    """As a user has it: the script is loaded, then a word is completed."""
    (tmp_path / "noisy-student").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m workflow "$@"\n'
    )
    (tmp_path / "noisy-student").chmod(0o755)
    script = """
eval "$(noisy-student completion bash)"
COMP_WORDS=(noisy-student propagate --neigh); COMP_CWORD=2
_noisy_student_completion noisy-student
echo "${COMPREPLY[@]}"
complete -p noisy-student
"""
    path = f"{tmp_path}:{os.environ['PATH']}"
    shown = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=ROOT,
        env={**ENVIRONMENT, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[0] == "--neighbors="
    assert "_noisy_student_completion" in shown[1]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell):
    shown = CliRunner().invoke(program.main, ["completion", shell])
    assert shown.exit_code == 0
    assert "_NOISY_STUDENT_COMPLETE" in shown.output
