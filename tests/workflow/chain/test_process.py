import os
import shlex
import subprocess
import sys

import pytest

from workflow.chain import process
from workflow.chain.errors import StageError
from workflow.chain.process import Processes


def run(tmp_path, program, processes=None):
    """Runs a program of Python as a stage; returns the lines that are shown."""
    lines = []
    (processes or Processes()).run(
        "stage", ["-c", program], log_path=str(tmp_path / "log"), show=lines.append
    )
    return lines


def test_lines_are_shown_and_logged(tmp_path):
    program = "import sys; print('out'); sys.stderr.write('err\\n')"
    assert sorted(run(tmp_path, program)) == ["err", "out"]
    run(tmp_path, "print('second')")
    command, first, second, *rest = (tmp_path / "log").read_text().splitlines()
    assert shlex.split(command) == ["$", "python", "-c", program]
    assert sorted((first, second)) == ["err", "out"]
    assert rest == ["$ python -c 'print('\"'\"'second'\"'\"')'", "second"]


def test_bytes_that_are_no_text_are_shown_escaped(tmp_path):
    program = "import sys; sys.stdout.buffer.write(b'a\\xff\\nb')"
    assert run(tmp_path, program) == ["a\ufffd", "b"]
    assert (tmp_path / "log").read_bytes().endswith(b"a\xff\nb")


@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("import sys; sys.exit(7)", "status 7"),
        ("import os; os.kill(os.getpid(), 9)", "signal SIGKILL"),
    ],
)
def test_how_a_process_ended_is_said(tmp_path, program, how):
    with pytest.raises(StageError, match=f"stage ended with {how}"):
        run(tmp_path, program)


def test_nothing_is_started_after_the_end(tmp_path):
    processes = Processes()
    processes.end(2)
    with pytest.raises(StageError, match="not started"):
        run(tmp_path, "print(1)", processes)


def import_as_stage(directory, program):
    """Runs a program in a directory as a stage; returns what has happened."""
    before = os.getcwd()
    os.chdir(directory)
    try:
        environment = process.environment()
    finally:
        os.chdir(before)
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_working_directory_hides_no_module_of_a_stage(tmp_path):
    """Neither one of the project nor one of Python."""
    (tmp_path / "stage").mkdir()
    for name in ("stage/__init__.py", "csv.py", "yaml.py"):
        (tmp_path / name).write_text("raise SystemExit('hidden')")
    ended = import_as_stage(tmp_path, "import stage.text, csv, yaml")
    assert ended.returncode == 0, ended.stderr


def test_an_installed_package_hides_no_module_of_python(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_ROOT", tmp_path)
    monkeypatch.setattr(process.site, "getsitepackages", lambda: [str(tmp_path)])
    (tmp_path / "csv.py").write_text("raise SystemExit('hidden')")
    assert import_as_stage(tmp_path, "import csv").returncode == 0


def test_threads_of_a_network_are_limited(tmp_path):
    program = "import os; print(os.environ.get('TF_NUM_INTRAOP_THREADS'))"
    assert run(tmp_path, program, Processes(threads=3)) == ["3"]
    before = os.environ.get("TF_NUM_INTRAOP_THREADS")
    assert run(tmp_path, program) == [str(before)]
