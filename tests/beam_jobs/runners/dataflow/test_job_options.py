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

from beam_jobs.runners.dataflow import job_options
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
        "--machine_type=g2-standard-16",
        "--autoscaling_algorithm=NONE",
        "--number_of_worker_harness_threads=3",
        "--disk_size_gb=99",
        "--accelerator=nvidia-l4",
    )
    workers = found.view_as(WorkerOptions)
    assert found.view_as(GoogleCloudOptions).job_name == "mine"
    assert "team=birds" in found.view_as(GoogleCloudOptions).labels
    assert workers.max_num_workers == workers.num_workers == 30
    assert workers.machine_type == "g2-standard-16"
    assert workers.autoscaling_algorithm == "NONE"
    assert workers.disk_size_gb == 99
    assert found.view_as(DebugOptions).number_of_worker_harness_threads == 3


def test_the_pool_is_what_was_filled_in():
    pool = job_options.pool(filled("--accelerator=nvidia-tesla-t4", "--num_workers=12"))
    assert (pool.machine, pool.workers) == ("n1-standard-4", 12)
    assert (pool.accelerator, pool.disk_gb) == ("nvidia-tesla-t4", 50)
    assert pool.disk_type == "pd-standard"


@pytest.mark.parametrize(
    "disk", ["pd-ssd", "compute.googleapis.com/projects//zones//diskTypes/pd-ssd"]
)
def test_the_pool_has_the_type_of_disk_that_was_asked_for(disk):
    assert job_options.pool(filled(f"--disk_type={disk}")).disk_type == "pd-ssd"


@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("project", "make: PROJECT="),
        ("region", "make: REGION="),
        ("temp_location", "make: BUCKET="),
        ("sdk_container_image", r"runner\.dataflow\.image"),
    ],
)
def test_a_missing_option_is_named_as_flag_and_as_setting(option, setting):
    with pytest.raises(ValueError, match=rf"--{option}.*{setting}"):
        filled(**{option: None})


@pytest.mark.parametrize(
    "path", ["my-bucket/tmp", "gs://my-bucket", "gs://My_Bucket/tmp", "gs://b/tmp"]
)
def test_a_path_for_which_beam_would_make_a_bucket_is_refused(path):
    with pytest.raises(ValueError, match="gs://BUCKET/FOLDER"):
        filled(temp_location=path)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--template_location=gs://my-bucket/template", "writes a template"),
        ("--update", "streaming"),
        ("--disk_size_gb=29", "at least 30.*got 29"),
        ("--max_hours=0", "got 0"),
        ("--max_hours=nan", "got nan"),
        ("--max_hours=745", "to 744"),
        ("--max_hours=0.0001", "from 0.1"),
        ("--streaming", "streaming"),
        ("--dry_run=true", "--dry_run"),
        ("--dataflow_service_options=enable_prime", "enable_prime"),
        ("--experiments=enable_prime", "enable_prime"),
        ("--max_num_workers=-1", "--max_num_workers, got -1"),
        ("--num_workers=-5", "--num_workers, got -5"),
        ("--number_of_worker_harness_threads=-1", "harness_threads, got -1"),
        ("--dataflow_service_options=max_workflow_runtime_walltime_seconds=9", "MAX_"),
    ],
)
def test_what_the_service_would_refuse_or_not_use_is_refused(option, expected):
    with pytest.raises(ValueError, match=expected):
        filled(option)


def test_a_job_cannot_begin_with_more_workers_than_it_may_have():
    with pytest.raises(ValueError, match=r"at most 10.*MAX_WORKERS.*got 20"):
        filled("--max_num_workers=10", "--num_workers=20")


def test_a_disk_that_n4_does_not_have_is_refused():
    filled("--machine_type=n4-standard-4")
    with pytest.raises(ValueError, match="N4 has no persistent disks"):
        filled("--machine_type=n4-standard-4", "--worker_disk_type=pd-ssd")


# --- limits --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "seconds"), [((), 86400), (("--max_hours=.5",), 1800)]
)
def test_the_service_ends_a_job_that_takes_too_long(given, seconds):
    services = filled(*given).view_as(GoogleCloudOptions).dataflow_service_options
    assert services == [f"max_workflow_runtime_walltime_seconds={seconds}"]


def test_the_largest_cost_is_that_of_all_workers_for_all_hours():
    line = job_options.describe_limit(filled("--max_num_workers=2", "--max_hours=3"))
    cost = 2 * 3 * (4 * 0.056 + 16 * 0.003557 + 50 * 0.000054)
    assert line.startswith(f"at most 2 n2-standard-4 for 3 hours, {cost:.2f} USD")


@pytest.mark.parametrize(
    ("region", "said"), [("us-central1", False), ("europe-west4", True)]
)
def test_prices_of_another_region_are_called_so(region, said):
    line = job_options.describe_limit(filled(f"--region={region}"))
    assert line.endswith(f" for us-central1, not {region}") == said


def test_a_machine_without_a_price_is_no_error():
    line = job_options.describe_limit(filled("--machine_type=m9-huge-7"))
    assert "cost unknown" in line
    assert "prices.json" in line


@pytest.mark.parametrize(
    ("given", "units", "expected"),
    [
        ((), 65_000, 10),
        ((), 1, 1),
        ((), 0, 1),
        ((), 8, 2),
        ((), 9, 3),
        (("--machine_type=n2-custom-2-8192",), 8, 4),
        (("--machine_type=e2-medium",), 8, 8),
        (("--machine_type=n2-standard-0",), 8, 8),
        (("--number_of_worker_harness_threads=2",), 9, 2),
        (("--accelerator=nvidia-l4",), 9, 5),
        (("--num_workers=7",), 1, 7),
        (("--max_num_workers=4",), 65_000, 4),
    ],
)
def test_a_job_begins_with_a_worker_for_every_shard_that_it_can_do(
    given, units, expected
):
    options = filled(*given)
    job_options.start_workers(options, units=units)
    assert options.view_as(WorkerOptions).num_workers == expected


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
    paths = {"images": "gs://my-bucket/images", "exclude": ["gs://my-bucket/x"]}
    job_options.require_bucket(filled(), **paths, output="gs://my-bucket/x")
    with pytest.raises(ValueError, match=r"--output.*runs/x"):
        job_options.require_bucket(filled(), **paths, output="runs/x")
    with pytest.raises(ValueError, match=r"--teacher.*runs/x"):
        job_options.require_bucket(filled(), teacher=["gs://my-bucket/x", "runs/x"])


def test_other_runners_may_read_from_anywhere():
    job_options.require_bucket(PipelineOptions([]), output="runs/x")
