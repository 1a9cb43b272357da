import pathlib
import re

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import WorkerOptions

from beam_jobs.runners import run
from beam_jobs.runners.dataflow import submission
from beam_jobs.runners.options import PipelineJob


def parse(*arguments):
    return run.parse_beam_arguments(["program", *arguments], name="test")


@pytest.mark.parametrize(
    "option", ["--accelerator=nvidia-l4", "--max_hours=3", "--cancel_on_interrupt"]
)
def test_an_option_of_dataflow_needs_dataflow(option):
    with pytest.raises(ValueError, match=r"--\w+ needs --runner=DataflowRunner"):
        parse(option)


def test_dataflow_needs_options_of_its_own():
    with pytest.raises(ValueError, match="--region"):
        parse("--runner=DataflowRunner", "--project=my-project")


DATAFLOW = (
    *("--runner=DataflowRunner", "--project=my-project", "--region=europe-west4"),
    *("--temp_location=gs://my-bucket/tmp", "--sdk_container_image=image"),
)


@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        (DATAFLOW, 1),
        ((*DATAFLOW, "--accelerator=nvidia-l4"), 0),
        (("--runner=FlinkRunner", "--job_endpoint=localhost:8099"), 1),
        (("--direct_num_workers=1",), 0),
        (("--direct_num_workers=2", "--direct_running_mode=multi_processing"), 4),
        (("--direct_num_workers=9", "--direct_running_mode=multi_processing"), 1),
    ],
)
def test_threads_of_a_worker(monkeypatch, arguments, threads):
    monkeypatch.setattr(run, "num_cores", lambda: 8)
    assert run.threads_of_worker(parse(*arguments)) == threads


def test_a_dataflow_job_begins_with_workers_for_its_units(monkeypatch):
    submitted = []

    def submit(job, options, *, log):
        submitted.append(options.view_as(WorkerOptions).num_workers)

    monkeypatch.setattr(submission, "run", submit)

    def build(pipeline):
        _ = pipeline | beam.Create([7])

    job = PipelineJob(build=build, output="x", units=9)
    run.run_pipeline(job, parse(*DATAFLOW))
    assert submitted == [3]


def test_a_failure_is_one_line_and_a_log(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(number):
        raise ValueError(f"bad number {number}")

    def build(pipeline):
        _ = pipeline | beam.Create([7]) | beam.Map(fail)

    with pytest.raises(run.PipelineError) as error:
        run.run_pipeline(
            PipelineJob(build=build, output=""), parse("--direct_num_workers=1")
        )
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith("bad number 7 ")
    (log,) = re.findall(rf"{tmp_path}/\S+\.log", line)
    assert "bad number 7" in pathlib.Path(log).read_text()


def test_a_success_leaves_no_log(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    numbers = lambda pipeline: pipeline | beam.Create([1])  # noqa: E731
    prepared = []
    job = PipelineJob(build=numbers, output="", prepare=lambda: prepared.append(1))
    run.run_pipeline(job, parse("--direct_num_workers=1"))
    assert prepared == [1]
    assert not list(tmp_path.iterdir())
