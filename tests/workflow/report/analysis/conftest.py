"""A run with all files, shared by the tests of the analysis."""

import shutil

import pytest

from tests.workflow.report import runs


@pytest.fixture(scope="session")
def complete_run(tmp_path_factory):
    plan = runs.Plan(
        class_names=runs.NAMES, accuracies=(0.82, 0.9, 0.88), calibrated=True
    )
    return runs.make(tmp_path_factory.mktemp("figures") / "demo", plan)


@pytest.fixture(scope="session")
def found(complete_run):
    return runs.read_figures(complete_run)[0]


@pytest.fixture
def copied(complete_run, tmp_path):
    return shutil.copytree(complete_run, tmp_path / "copy")
