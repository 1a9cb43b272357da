import re

import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs.runners.dataflow import accelerators, job_options
from tests.beam_jobs.runners.dataflow.jobs import NOW, filled
from tests.beam_jobs.runners.dataflow.jobs import options as unfilled


def test_missing_options_are_filled_in():
    found = filled()
    workers = found.view_as(WorkerOptions)
    assert workers.machine_type == job_options.MACHINE_TYPE
    assert workers.max_num_workers == job_options.MAX_NUM_WORKERS
    assert workers.autoscaling_algorithm == "THROUGHPUT_BASED"
    setup = found.view_as(SetupOptions)
    assert (setup.sdk_location, setup.save_main_session) == ("container", False)
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 1
    cloud = found.view_as(GoogleCloudOptions)
    assert cloud.labels[0] == "noisy-student-rs=runs-birds-round-1-predictions"
    assert cloud.job_name.startswith("runs-birds-round-1-predictions-20261122-130509-")


def test_given_options_stay():
    found = filled(
        "--job_name=mine",
        "--labels=team=birds",
        "--num_workers=30",
        "--machine_type=c3-standard-8",
        "--autoscaling_algorithm=NONE",
        "--number_of_worker_harness_threads=3",
        "--disk_size_gb=99",
        "--accelerator=nvidia-l4",
    )
    workers = found.view_as(WorkerOptions)
    assert found.view_as(GoogleCloudOptions).job_name == "mine"
    assert "team=birds" in found.view_as(GoogleCloudOptions).labels
    assert workers.max_num_workers == workers.num_workers == 30
    assert workers.machine_type == "c3-standard-8"
    assert workers.autoscaling_algorithm == "NONE"
    assert workers.disk_size_gb == 99
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 3


def test_the_pool_is_what_was_filled_in():
    pool = job_options.pool(filled("--accelerator=nvidia-tesla-t4", "--num_workers=12"))
    assert (pool.machine, pool.workers) == ("n1-standard-4", 12)
    assert (pool.accelerator, pool.disk_gb) == ("nvidia-tesla-t4", 50)


@pytest.mark.parametrize(
    ("option", "variable"),
    [
        ("project", "PROJECT"),
        ("region", "REGION"),
        ("temp_location", "BUCKET"),
        ("sdk_container_image", "IMAGE"),
    ],
)
def test_a_missing_option_is_named_as_flag_and_as_variable(option, variable):
    with pytest.raises(ValueError, match=rf"--{option}.*make: {variable}="):
        filled(**{option: None})


@pytest.mark.parametrize(
    "path", ["my-bucket/tmp", "gs://my-bucket", "gs://My_Bucket/tmp", "gs://b/tmp"]
)
def test_a_path_for_which_beam_would_make_a_bucket_is_refused(path):
    with pytest.raises(ValueError, match="gs://BUCKET/FOLDER"):
        filled(temp_location=path)


def test_a_template_is_refused():
    with pytest.raises(ValueError, match="--template_location"):
        filled("--template_location=gs://my-bucket/template")


def test_options_of_other_runners_stay_as_they_are():
    local = PipelineOptions(["--runner=FnApiRunner"])
    before = local.get_all_options()
    job_options.fill_in(local, name="x", now=NOW)
    assert local.get_all_options() == before


@given(name=st.text(max_size=100), now=st.datetimes())
def test_a_job_has_a_valid_and_unique_name(name, now):
    found = job_options.job_name(name, now)
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", found)
    assert len(found) <= 63
    assert job_options.job_name(name, now) != found


def test_outputs_of_the_same_end_have_labels_of_their_own():
    def labels(name):
        options = unfilled()
        job_options.fill_in(options, name=name, now=NOW)
        return options.view_as(GoogleCloudOptions).labels

    end = "/a-folder-of-a-rather-long-name/predictions"
    first, second = labels(f"gs://a{end}"), labels(f"gs://b{end}")
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert labels(f"gs://a{end}/") == first
    assert re.fullmatch("noisy-student-rs-output=[0-9a-f]{16}", first[1])


def test_paths_must_be_in_buckets():
    job_options.require_bucket(
        images="gs://my-bucket/images", output="gs://my-bucket/x"
    )
    with pytest.raises(ValueError, match=r"--output.*runs/x"):
        job_options.require_bucket(images="gs://my-bucket/images", output="runs/x")


@pytest.mark.parametrize("name", list(accelerators.ACCELERATORS))
def test_an_accelerator_is_one_option(name):
    found = filled(f"--accelerator={name}", "--dataflow_service_options=enable_x")
    accelerator = accelerators.ACCELERATORS[name]
    assert found.view_as(WorkerOptions).machine_type == accelerator.machine_type
    assert found.view_as(GoogleCloudOptions).dataflow_service_options == [
        "enable_x",
        f"worker_accelerator={accelerator.worker_accelerator}",
    ]
    experiments = found.view_as(DebugOptions).experiments
    assert "no_use_multiple_sdk_containers" in experiments


def test_an_unknown_accelerator_is_answered_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"nvidia-l4.*nvidia-m5"):
        filled("--accelerator=nvidia-m5")


def test_an_accelerator_given_in_two_ways_is_refused():
    by_hand = "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:2"
    with pytest.raises(ValueError, match=r"--accelerator.*worker_accelerator="):
        filled("--accelerator=nvidia-l4", by_hand)
