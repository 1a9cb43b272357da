import importlib.metadata
import re
import tomllib

import pytest

from stage import extras
from tests.commands import ROOT

REQUIRES = [
    "keras>=3.15",
    'onnx>=1.20; extra == "onnx"',
    "tf2onnx<2,>=1.17; extra == 'onnx'",
    'huggingface_hub>=1.0; extra == "hub"',
    'noisy-student-rs[hub]; extra == "pretrained"',
    'keras-hub<0.33,>=0.32; extra == "pretrained"',
]


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """The package as a wheel installs it: no files of the clone beside it."""
    monkeypatch.setattr(extras, "_CLONE", tmp_path)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: REQUIRES)


def test_a_clone_installs_its_extra_with_the_pins():
    found = extras.install_extra("onnx")
    assert found == "pip install -c constraints.txt -e '.[onnx]'"
    assert extras.install_packages(["a[b]"]) == (
        "pip install -c constraints.txt 'a[b]'"
    )


def test_a_wheel_names_packages_and_never_its_own(wheel):
    assert extras.install_extra("onnx") == (
        "pip install 'onnx>=1.20' 'tf2onnx<2,>=1.17'"
    )
    assert extras.install_extra("pretrained") == (
        "pip install 'huggingface_hub>=1.0' 'keras-hub<0.33,>=0.32'"
    )
    assert extras.install_packages(["a[b]"]) == "pip install 'a[b]'"


def test_what_is_not_installed_at_all_is_a_clone(tmp_path, monkeypatch):
    def fail(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "_CLONE", tmp_path)
    monkeypatch.setattr(importlib.metadata, "requires", fail)
    assert "'.[onnx]'" in extras.install_extra("onnx")


def test_messages_name_extras_that_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set()
    packages = ("beam_jobs", "classifier", "stage", "workflow", "teacher", "student")
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            if path == ROOT / "stage" / "extras.py":  # It makes the message.
                continue
            text = path.read_text()
            assert "constraints.txt -e" not in text, f"{path}: only a clone has it"
            named |= set(re.findall(r"install_extra\(['\"](\w+)", text))
    assert {"onnx", "hub", "gcp", "jax"} <= named
    assert named <= set(project["optional-dependencies"])
