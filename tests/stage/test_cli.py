import inspect
import re
import signal
import subprocess
import sys

import pytest

from stage import artifact, cli, preemption
from stage.flags import CommandFlags
from tests.commands import ENVIRONMENT, ROOT, find_command

COMMANDS = (
    *("teacher.train", "teacher.evaluate", "teacher.calibrate"),
    *("student.train", "student.evaluate", "student.fix_resolution"),
    *("beam_jobs.label_images", "beam_jobs.select_labels", "beam_jobs.write_records"),
    *("classifier.predict", "classifier.export_model", "classifier.export_checkpoint"),
    *("classifier.summary", "classifier.tpu_compile", "pseudo_label.verify"),
    *("workflow.report", "workflow.rounds", "workflow.sample_images"),
    *("workflow.digits", "infra.flink", "infra.flink.worker_pool"),
)
IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
heavy = {"tensorflow", "keras", "jax", "pyarrow", "pandas"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


def run_python(program, *arguments):
    """Runs a program in a process; without one, the module named first."""
    return subprocess.run(
        [sys.executable, *(["-c", program] if program else ["-m"]), *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_commands_import_nothing_heavy_before_they_start():
    light = [name for name in COMMANDS if name != "infra.flink.worker_pool"]
    process = run_python(IMPORT_ALL, *(find_command(name).__name__ for name in light))
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_help_shows_what_the_command_is_for_and_its_flags(module):
    process = run_python(None, module, "--help")
    assert process.returncode == 0, process.stderr
    command = find_command(module)
    assert command.__doc__.splitlines()[0] in process.stdout
    for name in command.FLAGS.values:
        assert f"--{name}:" in process.stdout or f"--[no]{name}:" in process.stdout


@pytest.mark.parametrize("flag", ["--helpshort", "--helpfull", "--helpxml"])
def test_other_forms_of_help_end_with_status_0(flag):
    process = run_python(None, "classifier.summary", flag)
    assert process.returncode == 0, process.stderr
    assert "settings" in process.stdout


@pytest.mark.parametrize("module", COMMANDS)
def test_every_flag_of_a_command_has_a_help_text(module):
    command = find_command(module)
    assert command.__doc__.splitlines()[0].endswith(".")
    assert f"python -m {module}" in command.__doc__
    values = command.FLAGS.values
    for name in values:
        assert values[name].help, name


def test_flags_that_commands_share_are_defined_once():
    """Flags of the form `FLAGS.string("name", ...)` belong to one command each."""
    own = re.compile(r"FLAGS\.(?:string|strings|integer|number|boolean)\(\s*\"(\w+)\"")
    names = [
        name
        for command in COMMANDS
        for name in own.findall(inspect.getsource(find_command(command)))
    ]
    assert len(names) > 30
    assert len(names) == len(set(names))


def end_of(main, *arguments):
    """Returns the status of a command that has one flag, --seed."""
    flags = CommandFlags()
    flags.seed("this")
    return cli.call(main, flags, arguments)


def test_a_command_ends_with_its_status(capsys):
    assert end_of(lambda argv: None) == 0
    assert end_of(lambda argv: sys.exit(3)) == 3
    assert end_of(lambda argv: sys.exit(None)) == 0
    assert end_of(lambda argv: sys.exit("error: broken")) == 1
    assert capsys.readouterr().err == "error: broken\n"
    assert end_of(lambda argv: None, "--sead=1") == 1
    assert "'sead'" in capsys.readouterr().err


def test_a_command_receives_the_arguments_that_are_no_flags():
    received = []
    assert end_of(received.extend, "--seed=1", "a", "b") == 0
    assert received[1:] == ["a", "b"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FloatingPointError("loss is nan at step 7"), 1),
        (preemption.PreemptedError("saved at step 7"), preemption.EXIT_STATUS),
    ],
)
def test_a_run_that_cannot_continue_ends_with_one_line(capsys, error, status):
    def main(argv):
        raise error

    assert end_of(main) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert str(error) in line


@pytest.mark.parametrize(
    ("context", "caught"),
    [
        (cli.exit_on_user_error, (ValueError, OSError, FileNotFoundError)),
        (cli.exit_on_job_error, (ValueError, OSError, RuntimeError)),
    ],
)
def test_errors_for_the_user_are_one_line(context, caught):
    for error in caught:
        with pytest.raises(SystemExit) as end, context():
            raise error("two\n  lines")
        assert end.value.code == "error: two lines"
    with pytest.raises(KeyError), context():
        raise KeyError


def test_errors_of_the_work_itself_keep_their_traceback():
    with pytest.raises(RuntimeError), cli.exit_on_user_error():
        raise RuntimeError


def test_an_error_of_tensorflows_file_systems_is_the_users():
    tf = pytest.importorskip("tensorflow")
    with pytest.raises(SystemExit) as end, cli.exit_on_user_error():
        raise tf.errors.FailedPreconditionError(None, None, "Could not resolve\nhost")
    assert end.value.code == "error: Could not resolve host"


def test_arguments_are_refused_where_none_are_expected():
    cli.check_no_arguments(["command"])
    with pytest.raises(ValueError, match="'a b'"):
        cli.check_no_arguments(["command", "a", "b"])


def test_lines_name_the_directory_of_the_stage(capsys):
    cli.log_for("runs/demo/round-1/student/")("done")
    cli.log_for("student")("done")
    cli.log_for("runs/demo", is_first=False)("done")
    assert capsys.readouterr().out == "round-1/student: done\nstudent: done\n"


INTERRUPTED = """
import os, signal
from stage import cli
from stage.flags import CommandFlags
def main(argv):
    assert os.environ["MALLOC_ARENA_MAX"] == "1"
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        print("not reached")
cli.run(main, CommandFlags())
"""


INTERRUPTED_IN_A_THREAD = """
import signal, threading, time
from stage import cli, system
from stage.flags import CommandFlags
is_ending = threading.Event()
def kill_children():
    is_ending.set()
    time.sleep(0.3)
def main(argv):
    system.kill_children = kill_children
    threading.Thread(target=cli._interrupt, args=(signal.SIGINT,)).start()
    is_ending.wait()
    signal.raise_signal(signal.SIGINT)
    print("not reached")
cli.run(main, CommandFlags())
"""


def test_sigterm_ends_a_command_with_the_line_of_ctrl_c():
    process = run_python(INTERRUPTED.replace("SIGINT", "SIGTERM"))
    assert process.returncode == 143
    assert process.stdout == ""
    assert process.stderr == run_python(INTERRUPTED).stderr


@pytest.mark.parametrize("program", [INTERRUPTED, INTERRUPTED_IN_A_THREAD])
def test_ctrl_c_ends_a_command_at_once(program):
    """Also while another thread ends it: the main thread does not go on."""
    process = run_python(program)
    assert process.returncode == 130
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1


WITH_CALLBACKS = """
import os, signal, time
from stage import cli
from stage.flags import CommandFlags
from stage.interruption import on_interrupt
def fail(number):
    print("fails", flush=True)
    raise ValueError
def hang(number):
    print("hangs", flush=True)
    time.sleep(99)
def main(argv):
    with on_interrupt(lambda number: "of a block that has ended"):
        pass
    with (
        on_interrupt(lambda number: "outer"),
        on_interrupt(lambda number: "inner\\x1b"),
        on_interrupt(hang, seconds=SECONDS),
        on_interrupt(fail),
        on_interrupt(lambda number: print("newest", flush=True)),
    ):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(99)
cli.run(main, CommandFlags())
"""


def test_callbacks_are_called_on_ctrl_c_and_may_say_more():
    process = run_python(WITH_CALLBACKS.replace("SECONDS", "0.1"))
    assert process.returncode == 130
    assert process.stdout.splitlines() == ["newest", "fails", "hangs"]
    assert process.stderr == "inner\\x1b\n"


def test_a_second_ctrl_c_does_not_wait_for_callbacks():
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_CALLBACKS.replace("SECONDS", "99")],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.stdout.readline() != "hangs\n":
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1


TERMINATED_TWICE = """
import os, signal, threading
from stage import cli
from stage.flags import CommandFlags
from stage.interruption import on_interrupt
is_handled, interrupt = threading.Event(), cli._interrupt
def interrupt_and_return(number, frame):
    interrupt(number, frame)
    is_handled.set()
def terminate_again(number):
    os.kill(os.getpid(), signal.SIGTERM)
    is_handled.wait()
    return "cleaned up"
def main(argv):
    with on_interrupt(terminate_again, seconds=99):
        signal.raise_signal(signal.FIRST)
cli._interrupt = interrupt_and_return
cli.run(main, CommandFlags())
"""


@pytest.mark.parametrize(("first", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_second_sigterm_leaves_callbacks_their_time(first, status):
    process = run_python(TERMINATED_TWICE.replace("FIRST", first))
    assert process.returncode == status
    assert process.stderr == "cleaned up\n"


IN_NATIVE_CODE = """
import hashlib, os, signal, threading
from stage import cli
from stage.flags import CommandFlags
def main(argv):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
cli.run(main, CommandFlags())
"""


def test_ctrl_c_ends_a_command_that_does_not_return_to_python():
    process = run_python(IN_NATIVE_CODE)
    assert process.returncode == 130
    assert len(process.stderr.splitlines()) == 1


def test_what_tensorflow_prints_while_it_loads_is_dropped(tmp_path):
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'greeting')")
    process = run_python(
        "import os, sys; sys.path.insert(0, sys.argv[1]); from stage import cli; "
        "cli.load_tensorflow(); sys.modules['tensorflow']; os.write(2, b'error')",
        tmp_path,
    )
    assert process.stderr == "error"


def test_an_artifact_is_made_once(tmp_path):
    lines = []

    def make(config, error=None):
        with cli.making(
            str(tmp_path / "out"), config, started=0.0, log=lines.append
        ) as figures:
            if error is not None:
                raise error
            return figures

    for error in (ValueError("two\nlines"), OSError("two lines"), RuntimeError("two")):
        with pytest.raises(SystemExit, match=r"^error: two"):
            make({"a": 1}, error)
    assert not artifact.is_complete(tmp_path / "out")
    assert make({"a": 1}) == {}
    assert lines == []
    assert make({"a": 1}) is None
    assert lines == ["already complete"]
    with pytest.raises(SystemExit, match=r"a\b.*1.*2"):
        make({"a": 2})
