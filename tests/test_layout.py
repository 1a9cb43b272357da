"""What the documentation and the layout promise."""

import ast
import importlib.metadata
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from infra import make
from tests.commands import ROOT, find_command
from workflow import __main__ as program
from workflow.commands import stage_commands

DOCUMENTS = [
    *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
]
PACKAGES = (
    *("classifier", "teacher", "pseudo_label", "beam_jobs", "student"),
    *("examples", "benchmarks", "infra", "stage", "workflow", "noisy_student"),
)
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))


def documents(pattern):
    for document in DOCUMENTS:
        yield from re.findall(pattern, document.read_text())


def test_every_command_in_the_documentation_exists():
    modules = set(documents(r"python -m ([\w.]+)"))
    assert modules >= {"teacher.train", "student.train", "beam_jobs.label_images"}
    for module in modules:
        assert importlib.util.find_spec(module), module


def parse_commands(text):
    """Parses the project's command lines in a text; yields their modules."""
    text = text.replace("\\\n", " ")
    for module, line in re.findall(r"python -m ([\w.]+)([^\n`]*)", text):
        if module.partition(".")[0] not in PACKAGES or " ... " in line:
            continue
        arguments = re.split(r" -- | && | \|\| |;", line)[0]
        if arguments.count("'") % 2:
            arguments = arguments.removesuffix("'")  # Of an outer command.
        words = shlex.split(arguments)
        if module == "workflow":
            parse_program(words)
        else:
            rest = find_command(module).FLAGS.parse([module, *words])[1:]
            assert not any(argument.startswith("-") for argument in rest), line
        yield module


def parse_program(words):
    """Parses a command line of `noisy-student`."""
    name, *rest = words
    command = program.main.get_command(None, name)
    assert command, words
    if name in stage_commands.STAGES:
        module, _ = stage_commands.STAGES[name]
        find_command(module).FLAGS.parse([module, *rest])
    elif "--help" not in rest:
        command.make_context(name, rest)


def test_every_command_line_in_the_documentation_parses():
    text = "".join(document.read_text() for document in DOCUMENTS)
    assert len(list(parse_commands(text))) > 20


def test_every_command_line_of_the_program_parses():
    text = "".join(document.read_text() for document in DOCUMENTS)
    lines = re.findall(
        r"(?m)(?:`|^)noisy-student ([^\n`#]+)", text.replace("\\\n", " ")
    )
    for line in lines:
        if "..." not in line:
            parse_program(shlex.split(line))


def test_every_command_line_of_make_parses():
    targets = (
        *("demo", "demo-seeds", "verify", "calibration", "report", "rounds", "status"),
        *("tpu-compile", "flink-up", "flink-down", "fuzz", "test-container"),
    )
    environment = {
        name: value for name, value in os.environ.items() if "MAKE" not in name
    }
    lines = subprocess.check_output(
        ["make", "--dry-run", "--always-make", *targets, "SET=teacher.folds=3"],
        cwd=ROOT,
        env=environment,
        text=True,
    )
    modules = set(parse_commands(lines))
    assert modules >= {"workflow", "infra.flink", "pseudo_label.verify"}


def test_every_file_in_the_documentation_exists():
    for name in documents(r"`((?:\w+/)+\w+\.(?:py|md))`"):
        assert (ROOT / name).exists(), name


def test_every_test_in_the_documentation_exists():
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    defined = set(re.findall(r"^def (test_\w+)", sources, re.MULTILINE))
    named = set(documents(r"`(test_\w+)`"))
    assert len(named) > 40
    assert named <= defined


def test_every_make_target_in_the_documentation_exists():
    assert set(documents(r"(?m)(?:`|^)make (?:-n )?([a-z-]+)")) <= set(make.TARGETS)


def test_every_make_variable_in_the_documentation_exists():
    lines = documents(r"(?m)(?:`|^)make [a-z-]+((?: |\\\n +)[A-Z_]+=(?:[^`\n]|\\\n)*)")
    names = {name for line in lines for name in re.findall(r"(?:^|\s)([A-Z_]+)=", line)}
    assert len(names) > 5
    assert names <= set(make.VARIABLES)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


@pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_functions_are_short(path):
    """Most are under 40 lines; flags and a `main` are what entry points are long of."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 80, node.name


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["demo"], *extras["jax"], *extras["dev"]]
    names = {re.match(r"[\w-]+", line)[0].lower().replace("_", "-") for line in wanted}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    assert names - {"noisy-student-rs"} <= pinned


def test_the_tpu_compiler_is_that_of_the_pinned_jax():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines)
    assert importlib.metadata.version("jax") == pins["jax"]
    (wanted,) = {
        match[1]
        for line in importlib.metadata.requires("jax")
        if (match := re.match(r"libtpu==([\d.]+)\.\*", line))
    }
    assert re.fullmatch(rf"{re.escape(wanted)}(\.\d+)*", pins["libtpu"])


def test_selecting_and_running_do_not_import_tensorflow():
    program = (
        "import sys; import beam_jobs.select_labels, beam_jobs.selection.pipeline; "
        "import workflow.__main__, workflow.commands.running; "
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_no_class_name_is_used_twice():
    """Over all packages, so that a search for a name finds one class."""
    names = [
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    assert len(names) > 150
    assert sorted(names) == sorted(set(names))
