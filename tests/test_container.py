"""The container of Dataflow's workers, and the rules of make that build and use it.

No container is built here: the Dockerfile is read, and make runs with commands that
only tell how they were called.
"""

import fnmatch
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import apache_beam
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stage import cli as command

ROOT = pathlib.Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FRAGMENT = ROOT / "infra" / "container.mk"


def instructions():
    """Yields the Dockerfile's instructions with their arguments."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, text.splitlines()):
        name, _, arguments = line.partition(" ")
        yield name, " ".join(arguments.split())


def arguments_of(name):
    return [arguments for found, arguments in instructions() if found == name]


def pins():
    lines = (ROOT / "constraints.txt").read_text().split()
    return {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines)
    }


def variable(name):
    """Returns what the fragment of the Makefile sets a variable to."""
    return re.search(rf"^{name} \S?= (.*)$", FRAGMENT.read_text(), re.MULTILINE)[1]


# --- the Dockerfile ------------------------------------------------------------
def test_workers_have_the_environment_of_local_ones():
    (settings,) = arguments_of("ENV")
    found = dict(setting.split("=") for setting in settings.split())
    del found["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"]
    assert found == command.ENVIRONMENT


def test_workers_have_the_beam_that_submits():
    (base,) = arguments_of("FROM")
    image, _, version = base.partition(":")
    assert image == "apache/beam_python${PYTHON_MINOR}_sdk"
    assert version == pins()["apache-beam"] == apache_beam.__version__


def test_the_python_is_one_that_the_project_supports():
    arguments = dict(argument.split("=") for argument in arguments_of("ARG"))
    minor = arguments["PYTHON_MINOR"]
    assert Requirement(f"x{PROJECT['requires-python']}").specifier.contains(
        f"{minor}.0"
    )


def test_what_starts_a_worker_is_beams():
    assert json.loads(arguments_of("ENTRYPOINT")[0]) == ["/opt/apache/beam/boot"]


def test_nothing_is_installed_that_is_not_pinned():
    commands = " && ".join(arguments_of("RUN")).split(" && ")
    installs = [command for command in commands if "pip install" in command]
    assert len(installs) == 2
    for install in installs:
        assert "--constraint constraints.txt" in install or "--no-deps" in install


@pytest.mark.parametrize("worker", ["cpu", "nvidia", "tpu"])
def test_the_extras_of_each_worker_are_there(worker):
    extras = variable(f"EXTRAS_{worker}").split(",")
    assert "gcp" in extras
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_the_dockerfiles_extras_are_those_of_workers_without_accelerator():
    assert f"EXTRAS={variable('EXTRAS_cpu')}" in arguments_of("ARG")


def test_all_that_workers_install_is_pinned():
    found = set(required(PROJECT["name"], ["gcp", "openvino"]))
    # Itself, and what pip freeze takes for parts of pip.
    assert found - set(pins()) <= {PROJECT["name"], "setuptools", "wheel"}


def required(name, extras, seen=None):
    """Yields what a package needs, and what that needs, as far as it is installed."""
    seen = set() if seen is None else seen
    yield canonicalize_name(name)
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for requirement in map(Requirement, lines):
        environments = [default_environment() | {"extra": e} for e in ["", *extras]]
        marker = requirement.marker
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen or (
            marker is not None and not any(map(marker.evaluate, environments))
        ):
            continue
        seen.add(key)
        yield from required(requirement.name, requirement.extras, seen)


# --- what goes into it ---------------------------------------------------------
def copied():
    sources = [arguments.split()[:-1] for arguments in arguments_of("COPY")]
    return {name for names in sources for name in names}


def test_it_holds_the_packages_and_no_others():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    patterns = tool["setuptools"]["packages"]["find"]["include"]
    packages = {
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if any(fnmatch.fnmatch(path.parent.name, pattern) for pattern in patterns)
    }
    assert {name for name in copied() if (ROOT / name).is_dir()} == packages
    assert set(variable("CONTAINER_DIRS").split()) == packages


def test_what_it_copies_is_there_and_nothing_else_is_sent():
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert sent == copied()
    assert all((ROOT / name).exists() for name in sent)


def test_files_that_decide_its_content_decide_its_name():
    files = {name for name in copied() if (ROOT / name).is_file()}
    named = set(variable("CONTAINER_FILES").split())
    assert files - named == {"README.md", "LICENSE"}
    assert named - files == {"Dockerfile"}


def test_cloud_build_gives_it_the_arguments_it_has():
    recipe = (ROOT / "infra" / "cloudbuild.yaml").read_text()
    given = set(re.findall(r"--build-arg=(\w+)=\$_\1", recipe))
    assert given == {argument.split("=")[0] for argument in arguments_of("ARG")}


# --- the rules of make ---------------------------------------------------------
MAKEFILE = """
RUN ?= runs/birds
PY := {python}
VENV := {tmp}/venv
INSTALLED := {tmp}/venv/gcp-installed
IMAGES := tfrecord:gs://my-images/*.tfrecord
DATA_FLAGS := --data_dir=gs://my-images/tfds
RUNNER ?= dataflow
include {variables}
include {dataflow}
include {fragment}

image:
	@echo $(IMAGE)
"""
#: Says how it was called, and answers like the command it stands for.
STAND_IN = """#!/bin/sh
echo "$(basename $0) $*" >> {log}
case "$*" in
*version_info*) echo 3.11 ;;
*"$FAILING"*) exit 1 ;;
esac
"""
GIVEN = ("PROJECT=my-project", "REGION=europe-west4", "BUCKET=my-bucket")


@pytest.fixture
def make(tmp_path):
    """Runs make on a small project, whose commands only tell how they were called."""
    log = tmp_path / "log"
    for name in ("gcloud", "docker", "python"):
        (tmp_path / name).write_text(STAND_IN.format(log=log))
        (tmp_path / name).chmod(0o755)
    files = [*variable("CONTAINER_FILES").split(), "venv/bin/python"]
    files += [f"{name}/code.py" for name in variable("CONTAINER_DIRS").split()]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    makefile = MAKEFILE.format(
        python=tmp_path / "python",
        tmp=tmp_path,
        variables=FRAGMENT.with_name("variables.mk"),
        dataflow=FRAGMENT.with_name("dataflow.mk"),
        fragment=FRAGMENT,
    )
    (tmp_path / "Makefile").write_text(makefile)

    def make(*arguments, failing="nothing fails"):
        log.write_text("")
        ended = subprocess.run(
            ["make", *arguments],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "FAILING": failing},
            capture_output=True,
            text=True,
            check=False,
        )
        calls = [line for line in log.read_text().splitlines() if " -c " not in line]
        return ended, calls

    return make


@pytest.mark.parametrize("name", ["PROJECT", "REGION", "BUCKET"])
def test_a_missing_variable_is_named_at_once(make, name):
    given = [argument for argument in GIVEN if not argument.startswith(name)]
    ended, calls = make("image", *given)
    assert ended.returncode == 2
    assert f"expected {name}=, as in make labels RUNNER=dataflow" in ended.stderr
    assert not calls


def test_other_runners_need_none_of_them(make):
    ended, _ = make("image", "RUNNER=local")
    assert ended.returncode == 0


@pytest.mark.parametrize("run", ["gs://my-bucket/runs", "/somewhere/runs"])
def test_a_run_stays_below_the_directory(make, run):
    ended, _ = make("image", *GIVEN, f"RUN={run}")
    assert "expected RUN= as a path below this directory" in ended.stderr


@pytest.mark.parametrize("builder", ["cloud", "docker"])
@pytest.mark.parametrize(
    ("accelerator", "worker"),
    [("", "cpu"), ("nvidia-tesla-t4", "nvidia"), ("tpu-v5e", "tpu")],
)
def test_the_container_is_built_for_the_accelerator(make, builder, accelerator, worker):
    given = (*GIVEN, f"ACCELERATOR={accelerator}", f"BUILDER={builder}")
    ended, calls = make("container", *given)
    assert ended.returncode == 0, ended.stderr
    image = make("image", *given)[0].stdout.strip()
    assert re.fullmatch(
        "europe-west4-docker.pkg.dev/my-project/noisy-student-rs/"
        rf"worker-{worker}:py3\.11-\d+",
        image,
    )
    assert image in calls[0]
    assert f"EXTRAS={variable(f'EXTRAS_{worker}')}" in calls[0]
    assert calls[-1].startswith(
        "gcloud builds" if builder == "cloud" else "docker push"
    )


def test_other_code_is_another_image_and_what_is_compiled_is_not(make, tmp_path):
    before = make("image", *GIVEN)[0].stdout
    (tmp_path / "classifier" / "__pycache__").mkdir()
    (tmp_path / "classifier" / "__pycache__" / "code.pyc").write_text("compiled")
    assert make("image", *GIVEN)[0].stdout == before
    (tmp_path / "classifier" / "code.py").write_text("# other code\n")
    assert make("image", *GIVEN)[0].stdout != before


def test_an_estimate_needs_nothing_that_is_in_the_cloud(make, tmp_path):
    (tmp_path / "venv" / "gcp-installed").touch()
    ended, calls = make("estimate", *GIVEN, "NUM_IMAGES=1000", "RATE=20", "IMAGE=x")
    assert ended.returncode == 0, ended.stderr
    (call,) = calls
    assert call.startswith("python -m beam_jobs.label_images --estimate=1000 ")
    assert "--images_per_second=20 " in call


def test_the_fragment_is_for_the_python_that_runs_it():
    command = re.search(r"\$\(PY\) -c '(.*)'\)", FRAGMENT.read_text())[1]
    found = subprocess.check_output([sys.executable, "-c", command], text=True)
    assert found.split() == [f"{sys.version_info.major}.{sys.version_info.minor}"]
