"""Variables of make: whatever they hold, it arrives as it is or is refused."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from infra import make as module
from tests.commands import ROOT
from tests.faults import endings, page
from workflow.commands import demonstration, stage_commands
from workflow.run_file.config import RunConfig
from workflow.run_file.describing import sections
from workflow.run_file.reading import read_run

#: In place of Python: writes its arguments, each ended by a null byte, into a file.
#: What make asks about its variables is answered.
STAND_IN = f"""#!/bin/sh
case "$1 $2" in
  -c*) PYTHONPATH='{ROOT}' exec '{sys.executable}' "$@" ;;
  *infra.make) PYTHONPATH='{ROOT}' exec '{sys.executable}' "$@" ;;
esac
for argument; do printf '%s\\0' "$argument"; done > "calls/$(date +%s%N)-$$"
case "$*" in *"$FAILING"*) exit 1 ;; esac
"""
SETTINGS = {
    "LABELED": "folder:labeled",
    "EVALUATION": "folder:test",
    "IMAGES": "folder:all",
    "RUN": "runs/x",
}
STAGES = [name for name in stage_commands.GOALS if name != "report"]
#: Values of which a shell, or make, would run or split parts.
SPECIAL = [
    *("my test", "it's", 'a "b" c', "a;touch touched", "a&b|c>d<e", "50% # 1"),
    *("~/a~0~1 b", "a:b=c,d", "(a) [b] {c} *?!", "back\\slash", "a  b ", "größe/日本"),
    *("`touch touched`", "$(touch touched)", "$(shell touch touched)", "$x $$x ${x}"),
    *("-x --y", ")", "$(error x)", "!", "a\tb"),
]


class Make:
    """Runs make on the project's rules, with commands that only tell their flags."""

    def __init__(self, root):
        self.root = root
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, root)
        python = root / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(STAND_IN)
        python.chmod(0o755)
        for name in ("demo", "dev", "gcp"):
            (root / ".venv" / f"{name}-installed").touch()

    def __call__(self, *targets, failing="nothing", environment=None, **variables):
        """Returns how it ended, and the arguments of each command, in their order."""
        shutil.rmtree(self.root / "calls", ignore_errors=True)
        (self.root / "calls").mkdir()
        ended = subprocess.run(
            ["make", *targets, *(f"{name}={text}" for name, text in variables.items())],
            cwd=self.root,
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(ROOT),
                "FAILING": failing,
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        paths = sorted((self.root / "calls").iterdir())
        return ended, [path.read_text().split("\0")[:-1] for path in paths]

    def call(self, *targets, **more):
        """Returns the arguments of the only command that make runs."""
        ended, calls = self(*targets, **more)
        assert ended.returncode == 0, ended.stderr
        (call,) = calls
        return call

    def refused(self, fault, *targets, **more):
        """Runs make, which must name the cause in one line, and do nothing."""
        ended, calls = self(*targets, **more)
        assert fault.end == endings.REFUSED
        assert (ended.returncode, calls) == (2, [])
        assert ended.stderr.count("\n") == 1, ended.stderr
        fault.check(ended.stderr)


@pytest.fixture
def make(tmp_path):
    return Make(tmp_path)


# --- values --------------------------------------------------------------------
@page.holds("special characters in a make variable")
@pytest.mark.parametrize("text", SPECIAL)
@pytest.mark.parametrize("from_environment", [False, True])
def test_values_arrive_as_they_are(fault, make, text, from_environment):
    assert fault.end == endings.WORKS
    names = ("LABELED", "EVALUATION", "IMAGES", "CALIBRATION", "RUN", "FILE", "PRESET")
    given = {name: f"/{name}/{text}" for name in (*names, "ROUND", "JOBS")}
    more = {"environment": given} if from_environment else given
    call = make.call("labels", **more)
    assert call == [
        *("-m", "workflow", "run", "--until=labels"),
        *(f"--round={given['ROUND']}", f"--jobs={given['JOBS']}", given["FILE"]),
        *(f"--output={given['RUN']}", f"--set=data.labeled={given['LABELED']}"),
        f"--set=data.evaluation={given['EVALUATION']}",
        f"--set=data.unlabeled={given['IMAGES']}",
        f"--set=data.calibration={given['CALIBRATION']}",
        f"--set=teacher.preset={given['PRESET']}",
    ]
    assert not (make.root / "touched").exists()


@page.holds("special characters in a make variable")
@pytest.mark.parametrize("name", sorted({*module.VARIABLES} - {"PYTHON"}))
def test_nothing_of_a_variable_is_run(fault, make, name):
    assert fault.end == endings.WORKS
    for text in ("$(shell touch touched)", "'; touch touched; '", "$$(touch touched)"):
        targets = ("verify", "demo-seeds", "fuzz", "chaos", "container", "estimate")
        make(*targets, "test", "-k", **{name: text})
        assert not (make.root / "touched").exists()


@page.holds("special characters in a make variable")
def test_no_other_python_is_run(fault, make):
    assert fault.end == endings.WORKS
    shutil.rmtree(make.root / ".venv")
    ended, _ = make("setup", PYTHON="/no such; touch touched")
    assert ended.returncode == 2
    assert "/no such; touch touched" in ended.stderr
    assert not (make.root / "touched").exists()


@page.holds("make variable with a line break")
@pytest.mark.parametrize("text", ["a\nb", "a\n", "a\n\ttouch touched"])
@pytest.mark.parametrize("from_environment", [False, True])
def test_several_lines(fault, make, text, from_environment):
    given = {"LABELED": text}
    more = {"environment": given} if from_environment else given
    make.refused(fault, "teacher", **more)
    assert not (make.root / "touched").exists()


def test_lists_are_separated_by_blanks(make):
    call = make.call(
        *("student", "RUN=x"),
        SET="teacher.members=3  student.settings.a='$b'",
        ARGS="--remake  --from='$x'",
    )
    assert call[-4:] == [
        *("--set=teacher.members=3", "--set=student.settings.a='$b'"),
        *("--remake", "--from='$x'"),
    ]


def test_every_variable_is_a_setting_or_is_used(make):
    """Each is passed to some command, and each setting is one of the run file."""
    known = {f"{s.name}.{name}" for s in sections() for name in s.settings}
    text = (make.root / "Makefile").read_text()
    for name in module.VARIABLES:
        assert re.search(rf"\b{name}\b", text), name
    given = {
        **{name: "1" for name in module.VARIABLES if name not in ("SET", "ARGS")},
        "PYTHON": "python3",
        "RUNNER": "local",
        "EXTRAS": "",
        "TPU": "",
    }
    flags = [flag for flag in make.call("teacher", **given) if "--set=" in flag]
    settings = [flag.removeprefix("--set=").partition("=")[0] for flag in flags]
    assert len(settings) > 15
    assert set(settings) <= known


@pytest.mark.parametrize("text", module.REPLACED.values())
def test_what_has_replaced_a_variable_is_a_setting(text):
    if text == "ARGS=":
        return
    (assignment,) = re.fullmatch(r"SET='?([^']+)'?", text).groups()
    name = assignment.partition("=")[0].replace(".settings.NAME", ".settings.num_steps")
    read_run(None, [assignment], output="x")
    section, _, leaf = name.removesuffix(".num_steps").rpartition(".")
    assert leaf in {n for s in sections() if s.name == section for n in s.settings}


# --- names ---------------------------------------------------------------------
@page.holds("unknown make variable on the command line")
def test_a_variable_that_there_is_not(fault, make):
    make.refused(fault, "demo", LABELLED="folder:x")
    assert make.call("teacher", environment={"LABELLED": "x"}, **SETTINGS)


@page.holds("make variable of an earlier version")
def test_a_former_variable(fault, make):
    make.refused(fault, "teacher", FOLDS="3", **SETTINGS)


@pytest.mark.parametrize("name", ["GIVEN", "WRONG", "SETTINGS", "PY", "INSTALLED"])
def test_names_of_the_makefile_are_no_variables(make, name):
    ended, calls = make("teacher", **{name: ""})
    assert (ended.returncode, calls) == (2, [])
    assert f"unknown variable '{name}'" in ended.stderr


@page.holds("make with a Python that is too old")
@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_versions_of_python(fault, version):
    assert fault.end == endings.REFUSED
    fault.check(module.describe_python(version))
    assert [module.describe_python((3, minor)) for minor in (11, 12, 13)] == [""] * 3


# --- images --------------------------------------------------------------------
def test_the_digits_are_those_of_the_demo():
    """`make teacher` and `noisy-student demo` make the same."""
    path = ROOT / "examples" / "digits.toml"
    expected = read_run(None, demonstration.SETTINGS, output="runs/demo")
    assert read_run(str(path), output="runs/demo") == expected
    output = os.path.relpath(read_run(str(path)).output, ROOT)
    assert output == "runs/demo" == module.VARIABLES["RUN"][0]


@pytest.mark.parametrize(
    ("given", "is_there"),
    [({}, True), *(({name: "x"}, False) for name in ("LABELED", "FILE", "RUN"))],
)
def test_the_digits_are_used_if_nothing_is_named(make, given, is_there):
    assert ("examples/digits.toml" in make.call("teacher", **given)) == is_there


def test_a_run_file_says_where_its_run_is(make):
    assert make.call("report", FILE="a b.toml")[2:] == [
        *("run", "--until=report", "a b.toml")
    ]
    assert make.call("report", FILE="x", RUN="y")[-2:] == ["x", "--output=y"]


# --- targets -------------------------------------------------------------------
@pytest.mark.parametrize("name", STAGES)
def test_a_target_makes_its_stage(make, name):
    call = make.call(name, RUN="x")
    expected = ["run", f"--until={name}", "--round=1", "--output=x"]
    assert call == ["-m", "workflow", *expected]


def test_a_verified_round_is_made_before(make):
    ended, (made, verified) = make("verify", RUN="a b", ROUND="2")
    assert ended.returncode == 0, ended.stderr
    assert made[3:5] == ["--until=records", "--round=2"]
    assert verified == ["-m", "pseudo_label.verify", "a b/round-2/dataset"]
    ended, calls = make("verify", failing="records")
    assert (ended.returncode, len(calls)) == (2, 1)


def test_the_verified_run_is_that_of_the_run_file(make):
    (make.root / "a b").mkdir()
    (make.root / "a b" / "run.toml").write_text('output = "it\'s $x"\n')
    _, (_, verified) = make("verify", FILE="a b/run.toml")
    found = os.path.join(make.root, verified[2])
    assert found == f"{make.root}/a b/it's $x/round-1/dataset"
    _, (_, verified) = make("verify", FILE="a b/run.toml", RUN="elsewhere")
    assert verified[2:] == ["elsewhere/round-1/dataset"]


@pytest.mark.parametrize("name", ["CLASS_NAMES", "DATA_DIR", "EXCLUDE"])
def test_values_with_blanks_are_for_the_run_file(name):
    assert "blanks in FILE=" in module.describe_unknown(name)
    assert "blanks" in module.VARIABLES["SET"][1]


def test_the_demo_and_its_seeds(make):
    assert make.call("demo", LABELS_PER_CLASS="10", RUN="runs/ten")[2:] == [
        *("demo", "--output=runs/ten", "--set=data.digits.labels_per_class=10")
    ]
    assert make.call("demo-seeds", SEEDS="3")[2:] == [
        *("demo", "--seeds=3", "--output=runs/demo-seeds")
    ]


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ({}, ["--set=rounds.count=3"]),
        ({"ROUNDS": "5"}, ["--set=rounds.count=5"]),
        ({"FILE": "x"}, []),
    ],
)
def test_there_are_three_rounds_unless_another_number_is_given(make, given, flags):
    call = make.call("rounds", **given)
    assert [flag for flag in call if "--set=" in flag] == flags


@pytest.mark.parametrize(
    ("target", "given", "flags"),
    [
        ("container", {"BUILDER": "docker"}, ["infra.container", "--builder=docker"]),
        ("dataflow-check", {}, ["infra.dataflow_check"]),
        ("dataflow-smoke", {}, ["infra.dataflow_smoke"]),
        ("estimate", {"NUM_IMAGES": "9"}, ["infra.estimate", "--num_images=9"]),
        ("estimate", {"FILE": "a b"}, ["infra.estimate", "a b"]),
    ],
)
def test_settings_of_the_cloud_reach_its_commands(make, target, given, flags):
    cloud = {"PROJECT": "p", "REGION": "r", "BUCKET": "b", "RATE": "2"}
    settings = {"project": "p", "region": "r", "bucket": "b", "images_per_second": "2"}
    _, *words = make.call(target, **cloud, **given)
    prefix = "--set=runner.dataflow"
    assert words[: len(flags)] == flags
    assert set(words[len(flags) :]) == {
        f"{prefix}.{k}={v}" for k, v in settings.items()
    }


@pytest.mark.parametrize(
    ("given", "extras"),
    [
        ({}, []),
        *(({"FEATURES": f"{k}:x"}, [e]) for k, e in (("onnx", "onnx"), ("hf", "hub"))),
        ({"FEATURES": "keras_hub:x", "EXTRAS": "onnx,hub"}, ["onnx,hub", "pretrained"]),
        ({"TPU": "vm", "FEATURES": "keras:x"}, ["tpu"]),
    ],
)
def test_what_a_run_needs_is_installed_once(make, given, extras):
    ended, calls = make("setup", **given)
    assert ended.returncode == 0, ended.stderr
    assert [call[-1] for call in calls] == [f".[demo,{extra}]" for extra in extras]
    ended, calls = make("setup", **given)
    assert (ended.returncode, calls) == (0, [])


def test_a_failed_command_fails_make_in_one_line(make):
    ended, _ = make("report", failing="report", **SETTINGS)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


def test_a_dry_run_shows_what_the_shell_would_be_given(make):
    given = {"LABELED": "$(shell touch touched) `x`", "RUN": "a $b"}
    ended, calls = make("teacher", "verify", "rounds", "--dry-run", **given)
    assert calls == []
    assert "--set=data.labeled='$(shell touch touched) `x`'" in ended.stdout
    unquoted = re.sub(r"'[^']*'", "", ended.stdout)
    assert not set("$`") & set(unquoted)
    assert not (make.root / "touched").exists()


def test_help_names_all_targets_and_variables_with_their_defaults(make):
    ended, calls = make("help", PYTHON=sys.executable)
    assert (ended.returncode, calls) == (0, []), ended.stderr
    database = subprocess.run(
        ["make", "-pn", "-f", str(ROOT / "Makefile"), "help"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    (phony,) = re.findall(r"^\.PHONY: (.*)$", database, re.MULTILINE)
    assert set(phony.split()) == set(module.TARGETS)
    found = re.findall(r"^  (\S+)  ", ended.stdout, re.MULTILINE)
    assert found == [
        *module.TARGETS,
        *(f"{name}={default}" for name, (default, _) in module.VARIABLES.items()),
    ]
    assert make("help", PYTHON=sys.executable)[0].stdout == make()[0].stdout
    assert max(map(len, ended.stdout.splitlines())) <= 88


def test_defaults_are_those_of_the_settings(make):
    config = RunConfig()
    text = (make.root / "Makefile").read_text()
    defaults = {name: default for name, (default, _) in module.VARIABLES.items()}
    dataflow = config.runner.dataflow
    assert defaults["PRESET"] == config.teacher.preset
    assert defaults["SEED"] == str(config.rounds.seed)
    assert defaults["ROUNDS"] == str(config.rounds.count)
    assert defaults["MINUTES"] == str(config.rounds.minutes)
    assert defaults["JOBS"] == str(config.runner.jobs)
    assert defaults["RUNNER"] == config.runner.name
    assert defaults["MAX_WORKERS"] == str(dataflow.max_workers)
    assert defaults["MAX_HOURS"] == f"{dataflow.max_hours:g}"
    for name in ("RUN", "PYTHON"):
        assert f"{name} ?= {defaults[name]}\n" in text
    for name in ("ROUND", "SEEDS", "TEST_PROCESSES"):
        assert f"$(or $(value {name}),{defaults[name]})" in text


def test_make_is_thin():
    assert len((ROOT / "Makefile").read_text().splitlines()) <= 120


def test_every_extra_that_make_installs_is_one_of_the_project():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = ("demo", "dev", "gcp", "tpu", "jax", "onnx", "hub", "pretrained")
    assert set(named) <= set(extras)
