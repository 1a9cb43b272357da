"""The container of Dataflow's workers: what the Dockerfile says.

No container is built here. `tests/infra/test_container.py` has what builds it.
"""

import fnmatch
import importlib.metadata
import json
import re
import shutil
import subprocess
import tomllib

import apache_beam
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from beam_jobs.runners.dataflow import container
from stage import cli as command
from tests.commands import ROOT
from tests.dockerfile import arguments_of, copied, variables
from tests.gcloud_parser import needs_gcloud

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins():
    lines = (ROOT / "constraints.txt").read_text().split()
    return {
        canonicalize_name(name): version
        for name, _, version in (line.partition("==") for line in lines)
    }


# --- the Dockerfile ------------------------------------------------------------
def test_workers_have_the_environment_of_local_ones():
    """But for TensorFlow's warnings, which say why a GPU is not used."""
    found = variables()
    assert {name: found[name] for name in command.ENVIRONMENT} == {
        **command.ENVIRONMENT,
        "TF_CPP_MIN_LOG_LEVEL": "1",
    }
    assert set(found) - set(command.ENVIRONMENT) == {
        *("RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT", "LD_LIBRARY_PATH", "PATH")
    }


def test_a_gpus_driver_is_found_where_dataflow_mounts_it():
    found = variables()
    assert found["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"
    assert found["PATH"] == "/usr/local/nvidia/bin:$PATH"


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


def test_the_packages_are_checked_when_all_are_there():
    commands = " && ".join(arguments_of("RUN")).split(" && ")
    assert commands.index("pip check") > max(
        index for index, command in enumerate(commands) if "pip install" in command
    )


@pytest.mark.parametrize("worker", ["cpu", "nvidia"])
def test_the_extras_of_each_worker_are_there(worker):
    extras = container.EXTRAS[worker].split(",")
    assert "gcp" in extras
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_the_dockerfiles_extras_are_those_of_workers_without_accelerator():
    assert f"EXTRAS={container.EXTRAS['cpu']}" in arguments_of("ARG")


@pytest.mark.parametrize("worker", ["cpu", "nvidia"])
def test_all_that_workers_install_is_pinned(worker):
    found = set(required(PROJECT["name"], container.EXTRAS[worker].split(",")))
    assert any(name.startswith("nvidia-cudnn") for name in found) == (
        worker == "nvidia"
    )
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
def test_it_holds_the_packages_and_no_others():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    patterns = tool["setuptools"]["packages"]["find"]["include"]
    packages = {
        path.parent.name
        for path in ROOT.glob("*/__init__.py")
        if any(fnmatch.fnmatch(path.parent.name, pattern) for pattern in patterns)
    }
    assert {name for name in copied() if (ROOT / name).is_dir()} == packages
    assert set(container.PACKAGES) == packages


def test_what_it_copies_is_there_and_nothing_else_is_sent():
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert sent == copied()
    assert all((ROOT / name).exists() for name in sent)


def test_cloud_build_is_sent_what_the_dockerfile_copies():
    lines = (ROOT / ".gcloudignore").read_text().split("\n")
    rules = [line for line in lines if line and not line.startswith("#")]
    assert (rules[0], rules[-1]) == ("/*", "__pycache__/")
    sent = {rule.removeprefix("!/") for rule in rules[1:-1]}
    assert sent == {"Dockerfile", ".dockerignore", *copied()}


@needs_gcloud
def test_gcloud_uploads_no_photograph(tmp_path):
    """It reads the rules as we do; the folders are those that the documentation has."""
    for name in (".gcloudignore", ".dockerignore", "Dockerfile", *copied()):
        if (ROOT / name).is_dir():
            (tmp_path / name / "part").mkdir(parents=True)
            (tmp_path / name / "part" / "code.py").touch()
        else:
            shutil.copy(ROOT / name, tmp_path)
    for name in (
        "birds/labeled/a/1.jpg",
        "runs/x/1",
        "stage/__pycache__/a.pyc",
        ".env",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = subprocess.check_output(
        ["gcloud", "meta", "list-files-for-upload", str(tmp_path)], text=True
    ).split()
    folders = {name for name in copied() if (ROOT / name).is_dir()}
    assert set(listed) == {
        *("Dockerfile", ".dockerignore"),
        *(copied() - folders),
        *(f"{name}/part/code.py" for name in folders),
    }


def test_files_that_decide_its_content_decide_its_name():
    files = {name for name in copied() if (ROOT / name).is_file()}
    named = set(container.FILES)
    assert files - named == {"README.md", "LICENSE"}
    assert named - files == {"Dockerfile"}


def test_cloud_build_gives_it_the_arguments_it_has():
    recipe = (ROOT / "infra" / "cloudbuild.yaml").read_text()
    given = set(re.findall(r"--build-arg=(\w+)=\$_\1", recipe))
    assert given == {argument.split("=")[0] for argument in arguments_of("ARG")}


def test_cloud_builds_log_can_be_read_by_who_may_read_logs():
    recipe = yaml.safe_load((ROOT / "infra" / "cloudbuild.yaml").read_text())
    assert recipe["options"]["logging"] == "CLOUD_LOGGING_ONLY"
