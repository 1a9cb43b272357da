"""The container of Dataflow's workers, and the rules of make that build and use it.

No container is built here: the Dockerfile is read, and make runs with commands that
only tell how they were called.
"""

import fnmatch
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib

import apache_beam
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stage import cli as command
from tests.commands import ROOT
from tests.dockerfile import arguments_of, copied, variables
from tests.gcloud_parser import needs_gcloud

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FRAGMENT = ROOT / "infra" / "container.mk"


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
    extras = variable(f"EXTRAS_{worker}").split(",")
    assert "gcp" in extras
    assert set(extras) <= set(PROJECT["optional-dependencies"])


def test_the_dockerfiles_extras_are_those_of_workers_without_accelerator():
    assert f"EXTRAS={variable('EXTRAS_cpu')}" in arguments_of("ARG")


@pytest.mark.parametrize("worker", ["cpu", "nvidia"])
def test_all_that_workers_install_is_pinned(worker):
    found = set(required(PROJECT["name"], variable(f"EXTRAS_{worker}").split(",")))
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
    assert set(variable("CONTAINER_DIRS").split()) == packages


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
    named = set(variable("CONTAINER_FILES").split())
    assert files - named == {"README.md", "LICENSE"}
    assert named - files == {"Dockerfile"}


def test_cloud_build_gives_it_the_arguments_it_has():
    recipe = (ROOT / "infra" / "cloudbuild.yaml").read_text()
    given = set(re.findall(r"--build-arg=(\w+)=\$_\1", recipe))
    assert given == {argument.split("=")[0] for argument in arguments_of("ARG")}


def test_cloud_builds_log_can_be_read_by_who_may_read_logs():
    recipe = yaml.safe_load((ROOT / "infra" / "cloudbuild.yaml").read_text())
    assert recipe["options"]["logging"] == "CLOUD_LOGGING_ONLY"


# --- the rules of make ---------------------------------------------------------
MAKEFILE = """
RUN ?= runs/birds
ROUND ?= 1
ROUNDS ?= 1
NUMBERS := 1 2 3 4
PY := {python}
VENV := {tmp}/venv
INSTALLED := {tmp}/venv/gcp-installed
IMAGES := tfrecord:gs://my-images/*.tfrecord
DATA_FLAGS := --data_dir=gs://my-images/tfds
RUNNER ?= dataflow
include {variables}
include {dataflow}
include {fragment}
include {check}

$(RUN)/round-1/teacher: | $(CLOUD_SEEN)
	$(PY) -m teacher.train

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
    (tmp_path / "venv" / "gcp-installed").touch()  # After what it depends on.
    makefile = MAKEFILE.format(
        python=tmp_path / "python",
        tmp=tmp_path,
        variables=FRAGMENT.with_name("variables.mk"),
        dataflow=FRAGMENT.with_name("dataflow.mk"),
        fragment=FRAGMENT,
        check=FRAGMENT.with_name("dataflow_check.mk"),
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


@pytest.mark.parametrize(
    ("given", "is_seen"),
    [
        ((), True),
        (("ROUND=2",), True),
        (("IMAGE=docker.io/mine/worker:1",), True),
        (("RUNNER=local",), False),
    ],
)
def test_the_cloud_is_looked_at_before_a_teacher_is_trained(make, given, is_seen):
    _, calls = make("runs/birds/round-1/teacher", *GIVEN, *given)
    modules = [call.split()[2] for call in calls]
    assert modules == [*(["workflow.dataflow"] if is_seen else []), "teacher.train"]
    assert not is_seen or "--before_training" in calls[0]


def test_a_round_that_is_done_needs_no_cloud(make, tmp_path):
    done = tmp_path / "runs" / "birds" / "round-1" / "dataset"
    done.mkdir(parents=True)
    (done / "COMPLETED").touch()
    for given, is_seen in (((), False), (("ROUND=2",), True)):
        _, calls = make("runs/birds/round-1/teacher", *GIVEN, *given)
        assert ("workflow.dataflow" in calls[0]) == is_seen, given


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ((), ["--builder=cloud"]),
        (("BUILDER=docker",), ["--builder=docker"]),
        (("IMAGE=docker.io/x",), ["--builder=cloud", "--own_image"]),
    ],
)
def test_the_check_is_of_the_job_that_would_be_submitted(make, given, flags):
    options = ("MAX_WORKERS=3", "DATAFLOW_FLAGS=--disk_size_gb=60")
    gpu = ("ACCELERATOR=nvidia-l4", "MACHINE=g2-standard-16")
    _, (call,) = make("dataflow-check", *GIVEN, *given, *options, *gpu)
    before, labeling, others = call.split(" -- ")
    images = ["--images=tfrecord:gs://my-images/*.tfrecord"]
    images += ["--data_dir=gs://my-images/tfds"]
    engine = ["--labeling_flags=--engine=tensorflow", "--dtype=float32"]
    assert before.split()[2:] == ["workflow.dataflow", *flags, *images, *engine]
    for after in (labeling, others):
        assert "--max_num_workers=3" in after
        assert "--disk_size_gb=60" in after
    for option in ("--accelerator=nvidia-l4", "--machine_type=g2-standard-16"):
        assert option in labeling
        assert option not in others


def test_labeling_on_a_tpu_is_refused(make):
    for target in ("container", "dataflow-check", "image"):
        ended, calls = make(target, *GIVEN, "ACCELERATOR=tpu-v5e")
        assert ended.returncode == 2
        assert "no engine for TPUs" in ended.stderr
        assert not calls


@pytest.mark.parametrize("builder", ["cloud", "docker"])
@pytest.mark.parametrize(
    ("accelerator", "worker"),
    [("", "cpu"), ("nvidia-tesla-t4", "nvidia"), ("nvidia-l4", "nvidia")],
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


def test_an_estimate_needs_nothing_that_is_in_the_cloud(make):
    ended, calls = make("estimate", *GIVEN, "NUM_IMAGES=1000", "RATE=20", "IMAGE=x")
    assert ended.returncode == 0, ended.stderr
    (call,) = calls
    assert call.startswith("python -m beam_jobs.label_images --estimate=1000 ")
    assert "--images_per_second=20 " in call


@pytest.mark.parametrize("given", [(), ("NUM_IMAGES=5",), ("RATE=20",)])
def test_an_estimate_without_its_numbers_names_the_variables(make, given):
    ended, calls = make("estimate", *GIVEN, *given)
    assert ended.returncode == 2
    assert "expected NUM_IMAGES= and RATE=, " in ended.stderr
    assert "make estimate NUM_IMAGES=1000000 RATE=20" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not calls


def test_the_fragment_is_for_the_python_that_runs_it():
    command = re.search(r"\$\(PY\) -c '(.*)'\)", FRAGMENT.read_text())[1]
    found = subprocess.check_output([sys.executable, "-c", command], text=True)
    assert found.split() == [f"{sys.version_info.major}.{sys.version_info.minor}"]
