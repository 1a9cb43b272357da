import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    WorkerOptions,
)

from beam_jobs.runners.dataflow import accelerators
from beam_jobs.runners.dataflow.accelerators import ACCELERATORS
from tests.beam_jobs.runners.dataflow.jobs import filled

L4 = "type:nvidia-l4;count:1;install-nvidia-driver:5xx"


def by_hand(value):
    return f"--dataflow_service_options=worker_accelerator={value}"


def accelerator_options(options):
    services = options.view_as(GoogleCloudOptions).dataflow_service_options
    return [each for each in services if each.startswith("worker_accelerator=")]


@pytest.mark.parametrize("name", list(ACCELERATORS))
def test_an_accelerator_is_one_option(name):
    found = filled(f"--accelerator={name}", "--dataflow_service_options=enable_x")
    machine_type = ACCELERATORS[name].machine_type
    assert found.view_as(WorkerOptions).machine_type == machine_type
    assert accelerator_options(found) == [
        f"worker_accelerator=type:{name};count:1;install-nvidia-driver:5xx"
    ]
    services = found.view_as(GoogleCloudOptions).dataflow_service_options
    assert "enable_x" in services
    experiments = found.view_as(DebugOptions).experiments
    assert "no_use_multiple_sdk_containers" in experiments


@pytest.mark.parametrize("more", [(), ("--accelerator=nvidia-l4",)])
def test_more_may_be_said_of_it_by_hand(more):
    value = f"{L4};provisioning_model:FLEX_START"
    found = filled(by_hand(value), *more)
    assert accelerator_options(found) == [f"worker_accelerator={value}"]
    assert accelerators.accelerator_name(found) == "nvidia-l4"
    assert found.view_as(WorkerOptions).machine_type == "g2-standard-8"
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("--accelerator=nvidia-m5",), "nvidia-l4.*nvidia-m5"),
        (("--accelerator=tpu-v5e",), "no job has an engine for TPUs"),
        ((by_hand("type:tpu-v6e-slice;topology:1x1"),), "engine for TPUs"),
        (("--machine_type=ct5lp-hightpu-1t",), "engine for TPUs"),
        (("--accelerator=nvidia-tesla-t4", by_hand(L4)), "nvidia-tesla-t4.*nvidia-l4"),
        ((by_hand(L4.replace("1", "2")),), "count:1.*count:2"),
        ((by_hand("type:nvidia-l4;count:1"),), "install-nvidia-driver"),
        ((by_hand(L4), by_hand(L4)), "got 2"),
        ((by_hand(""),), "got one without a type"),
        ((f"--experiments=worker_accelerator={L4}",), "place of an experiment"),
        ((f"--resource_hint=accelerator={L4}",), "--accelerator .*ACCELERATOR="),
        ((f"--resource_hints=accelerator={L4}",), "in place of a --resource_hint"),
        (("--accelerator=nvidia-l4", "--machine_type=n1-standard-4"), "g2-.*n1-"),
        (("--accelerator=nvidia-tesla-t4", "--machine_type=n2-standard-4"), "n1-.*n2-"),
        (("--machine_type=g2-standard-8",), "--accelerator=nvidia-l4"),
        (("--machine_type=a2-highgpu-1g",), "a2-highgpu-1g has a GPU"),
        (("--accelerator=nvidia-l4", "--flexrs_goal=COST_OPTIMIZED"), "has no GPUs"),
    ],
)
def test_what_would_be_refused_or_paid_for_nothing_is_refused(given, expected):
    with pytest.raises(ValueError, match=expected):
        filled(*given)


def test_other_resource_hints_are_no_accelerators():
    found = filled("--resource_hint=min_ram=4GB")
    assert accelerators.accelerator_name(found) is None
