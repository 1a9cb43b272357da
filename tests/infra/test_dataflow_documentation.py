"""What docs/dataflow.md says about the first job."""

import math

import pytest

from beam_jobs.runners.cost import hourly_costs
from tests.commands import ROOT
from tests.gcloud_parser import commands_of
from tests.workflow.dataflow import recorded
from workflow.dataflow.project import SERVICES

DOCUMENT = (ROOT / "docs" / "dataflow.md").read_text()


@pytest.mark.parametrize("options", [(), ("--accelerator=nvidia-l4",)])
def test_an_hour_of_a_worker_costs_what_is_said(options):
    hour = math.fsum(hourly_costs(recorded.job(*options).pool).values())
    first_job = DOCUMENT.partition("## From an empty project")[0]
    assert f" {hour:.2f} USD" in " ".join(first_job.split())


def test_the_services_that_are_switched_on_are_those_that_are_looked_for():
    (enabled,) = (
        command for command in commands_of(DOCUMENT) if "services enable" in command
    )
    names = {word.partition(".")[0] for word in enabled.split()[3:]}
    assert names == {*SERVICES, "artifactregistry", "cloudbuild"}


def test_the_states_of_a_line_are_explained():
    for state in ("`FAIL`", "`cost`", "`?`"):
        assert state in DOCUMENT
