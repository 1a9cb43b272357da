"""`make dataflow-smoke`, with a bucket on this machine and a local job in the end.

All else is real: the check of recorded answers, the digits, the teacher, the labels.
"""

import dataclasses

import pytest

from infra import dataflow_smoke
from stage import cli
from tests import buckets
from tests.commands import ROOT
from tests.workflow.dataflow import recorded
from workflow.chain.process import Processes
from workflow.dataflow import looking
from workflow.run_file.reading import read_run

PREFIX = "runs/smoke/"


def plan(*assignments):
    return dataflow_smoke.plan(read_run(None, [*recorded.SETTINGS, *assignments]))


@pytest.fixture
def player(tmp_path, monkeypatch):
    (tmp_path / "player").mkdir()
    player = recorded.Gcloud(tmp_path / "player")
    monkeypatch.setenv("PATH", player.environment["PATH"])
    monkeypatch.setattr("workflow.chain.runners.image_name", lambda **_: recorded.IMAGE)
    player.record(looking.read_target(plan()))
    return player


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket, and a working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with buckets.serve_processes(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def commands(monkeypatch):
    """The commands of the run; Dataflow's options are left out, so jobs are local."""
    commands, run = [], Processes.run

    def run_here(self, name, arguments, **more):
        commands.append(arguments)
        if arguments[1].startswith("teacher."):
            # TensorFlow reads gs:// by a client of its own, which knows no other host.
            arguments = [word.replace("gs://my-bucket/", "") for word in arguments]
        if arguments[1] == "beam_jobs.label_images":
            arguments = arguments[: arguments.index("--")]
        run(self, name, arguments, **more)

    monkeypatch.setattr(Processes, "run", run_here)
    return commands


def call(*flags):
    settings = [f"--set={text}" for text in recorded.SETTINGS]
    return cli.call(dataflow_smoke.main, dataflow_smoke.FLAGS, [*settings, *flags])


@pytest.mark.slow
def test_a_hundred_images_are_labeled_and_counted(player, bucket, commands, capfd):
    stale = f"{PREFIX}round-1/predictions/COMPLETED"
    bucket.objects.put(stale, b"of another day")
    status = call()
    out, err = capfd.readouterr()
    assert status == 0, out + err
    assert "labeled 100 of 100 images" in out
    assert "gcloud storage rm --recursive gs://my-bucket/runs/smoke" in out
    (job,) = [words for words in commands if words[1] == "beam_jobs.label_images"]
    flags, options = job[: job.index("--")], job[job.index("--") :]
    assert {"--runner=DataflowRunner", "--max_num_workers=1", "--max_hours=1"} <= set(
        options
    )
    # The engine of all runs on Dataflow, not that of the demo.
    assert [word for word in flags if "--engine" in word] == ["--engine=openvino"]
    assert bucket.objects.get(stale).content != b"of another day"
    predictions = f"{dataflow_smoke.RUN}/round-1/predictions"
    assert dataflow_smoke.count_statuses(predictions) == {"ok": 100}


def test_settings_of_the_run_to_come_are_not_for_this_one():
    others = (
        *("data.labeled=folder:birds/labeled", "data.evaluation=folder:birds/test"),
        *("data.unlabeled=folder:gs://b/birds", "data.class_names=birds.txt"),
        *(
            "teacher.preset=auto",
            "teacher.members=3",
            "rounds.count=2",
            "rounds.seed=7",
        ),
        *("selection.max_copies=5", "labeling.neighbors=5", "runner.jobs=4"),
        *("runner.dataflow.max_workers=40", "runner.dataflow.max_hours=100"),
    )
    assert plan(*others) == plan()
    cloud = ('runner.dataflow.options=["--network=my-net"]', "labeling.dtype=bfloat16")
    assert plan(*cloud, *others).runner.dataflow.options == ("--network=my-net",)
    assert plan(*cloud, *others).labeling.dtype == "bfloat16"


def test_the_engine_of_the_demo_is_not_for_this_one():
    demo = ("data.digits.labels_per_class=10", "labeling.engine=tensorflow")
    assert plan(*demo) == plan()


def test_it_labels_digits_of_the_bucket_with_few_steps():
    config = plan()
    remote = "gs://my-bucket/runs/smoke"
    assert config.images.unlabeled == f"tfrecord:{remote}/data/unlabeled/*.tfrecord"
    assert config.images.labeled.startswith("tfds:digits/")
    assert config.teacher.settings == {"num_steps": 100}
    assert config.runner.dataflow == dataclasses.replace(
        config.runner.dataflow, max_workers=1, max_hours=1.0
    )


def test_nothing_begins_if_something_is_missing(player, bucket, tmp_path, capsys):
    player.record(
        looking.read_target(plan()), errors={"bucket": recorded.MISSING["bucket"]}
    )
    assert call() == 1
    assert "FAIL bucket: no gs://my-bucket: type: gcloud " in capsys.readouterr().out
    assert list((tmp_path / "here").iterdir()) == []
    assert not bucket.counts
