"""Jobs with Dataflow's options: checked as for submission, and run here instead.

Inputs and outputs are in a bucket, that of an emulator.
"""

import io
import os
import pathlib

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs.io import filesystems
from beam_jobs.runners.cost import Resources
from beam_jobs.runners.dataflow import bill, job_options, submission
from tests import chain
from tests.beam_jobs.propagation import sets
from tests.beam_jobs.relabeling import heads
from tests.commands import call

BUCKET = "gs://my-bucket"
DATAFLOW = (
    *("--", "--runner=DataflowRunner", "--no_auth", "--project=my-project"),
    *("--region=europe-west4", f"--temp_location={BUCKET}/tmp"),
    *("--sdk_container_image=image", "--max_num_workers=3"),
)


@pytest.fixture(autouse=True)
def submitted(emulator, monkeypatch):
    """Jobs that would have been submitted, each of which runs here."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    filesystems.register()
    jobs = []

    def run_here(job, options, *, log):
        job.prepare()
        jobs.append(options.get_all_options(drop_default=True))
        bill.add_job(
            job.output,
            f"job-{len(jobs)}",
            state="done",
            resources=Resources(vcpu_hours=1.0, memory_gb_hours=0, disk_gb_hours=0),
            pool=job_options.pool(options),
        )
        here = PipelineOptions(["--runner=FnApiRunner", "--no_auth"])
        pipeline = beam.Pipeline(options=here)
        job.build(pipeline)
        result = pipeline.run()
        result.wait_until_finish()
        return result

    monkeypatch.setattr(submission, "run", run_here)
    return jobs


def upload(directory):
    """Copies a directory to the bucket; returns its path there."""
    there = f"{BUCKET}{os.fspath(directory)}"
    for path in pathlib.Path(directory).rglob("*"):
        if path.is_file():
            target = epath.Path(f"{BUCKET}{path}")
            target.write_bytes(path.read_bytes())
    return there


def read_files(directory):
    """Returns the content of each Parquet file, record file and decision."""
    root = epath.Path(directory)
    kept = (".parquet", "selection.json", "dataset_info.json")
    return {
        path.name: path.read_bytes()
        for path in root.iterdir()
        if path.name.endswith(kept) or "tfrecord" in path.name
    }


def read_rows(directory):
    """Returns all predictions."""
    paths = sorted(epath.Path(directory).glob("predictions-*"))
    return [pq.read_table(io.BytesIO(path.read_bytes())).to_pylist() for path in paths]


def assert_bill_is_last(ended):
    assert ": Dataflow has billed 0." in ended.stdout.splitlines()[-1]


def run_both(module, tmp_path, flags, paths):
    """Runs a command here and as on Dataflow; asserts that the outputs are the same."""
    here = [f"--{name}={path}" for name, path in paths.items()]
    there = [f"--{name}={upload(path)}" for name, path in paths.items()]
    ended = call(module, *here, *flags, f"--output={tmp_path}/here")
    assert ended.returncode == 0, ended.stderr
    output = f"{BUCKET}{tmp_path}/there"
    ended = call(module, *there, *flags, f"--output={output}", *DATAFLOW)
    assert ended.returncode == 0, ended.stderr
    assert_bill_is_last(ended)
    expected = read_files(f"{tmp_path}/here")
    assert expected
    assert read_files(output) == expected


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"))


def test_labeling(place, tmp_path, submitted):
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    handler = "tests.beam_jobs.labeling.test_model_handler:make_fixed"
    flags = (f"--model_handler={handler}", f"--class_names={tmp_path}/names.txt")
    upload(place.root / "images")
    images = f"{place.root}/images/part-*"
    ended = call(
        "beam_jobs.label_images",
        *(f"--images=tfrecord:{images}", f"--output={tmp_path}/here", *flags),
    )
    assert ended.returncode == 0, ended.stderr
    output = f"{BUCKET}{tmp_path}/there"
    ended = call(
        "beam_jobs.label_images",
        *(f"--images=tfrecord:{BUCKET}{images}", f"--output={output}", *flags),
        *DATAFLOW,
    )
    assert ended.returncode == 0, ended.stderr
    assert_bill_is_last(ended)
    rows, others = map(read_rows, (tmp_path / "here", output))
    assert rows
    assert rows == others
    (job,) = submitted
    assert job["num_workers"] == 1


def test_selecting(place, tmp_path, submitted):
    flags = ("--confidence_threshold=0.5", "--duplicate_bits=2", "--what_if")
    paths = {"predictions": place.predictions}
    run_both("beam_jobs.select_labels", tmp_path, flags, paths)
    (job,) = submitted
    assert job["num_workers"] == 1


def test_writing(place, tmp_path):
    upload(place.root / "images")
    flags = (f"--images=tfrecord:{BUCKET}{place.root}/images/part-*",)
    paths = {"predictions": place.predictions, "selection": place.selection}
    run_both("beam_jobs.write_records", tmp_path, flags, paths)


def test_propagating(tmp_path):
    labeled = sets.write(tmp_path / "labeled", shards=2, rows=11, seed=1, labeled=True)
    paths = {"predictions": sets.write(tmp_path / "predictions"), "labeled": labeled}
    run_both("beam_jobs.propagate_labels", tmp_path, ("--neighbors=4",), paths)


def test_relabeling(tmp_path):
    paths = {
        "predictions": sets.write(tmp_path / "p", labeled=True, **heads.SETTINGS),
        "teacher": heads.write(tmp_path / "teacher", heads.make_head()),
    }
    run_both("beam_jobs.relabel", tmp_path, ("--top_k=3",), paths)


@pytest.mark.parametrize(
    ("module", "flag"),
    [
        ("select_labels", "predictions"),
        ("propagate_labels", "labeled"),
        ("relabel", "teacher"),
        ("write_records", "selection"),
    ],
)
def test_an_input_on_this_machine_is_refused(module, flag, place, submitted):
    flags = {
        "select_labels": ("predictions",),
        "propagate_labels": ("predictions", "labeled"),
        "relabel": ("predictions", "teacher"),
        "write_records": ("predictions", "selection"),
    }[module]
    given = [f"--{name}={BUCKET}/x" for name in flags if name != flag]
    if module == "write_records":
        upload(place.root / "images")
        given += [f"--images=tfrecord:{BUCKET}{place.root}/images/part-*"]
    given += [f"--{flag}=runs/x", f"--output={BUCKET}/out"]
    ended = call(f"beam_jobs.{module}", *given, *DATAFLOW)
    assert ended.returncode == 1
    assert f"expected --{flag} in a bucket" in ended.stderr
    assert not submitted
