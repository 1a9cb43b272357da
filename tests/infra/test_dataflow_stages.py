"""Stages of a run on Dataflow: their order, commands and copies.

Stages are stand-ins that write what they were called with. The copies are real, to and
from a bucket on this machine.
"""

import pathlib

import pytest
from etils import epath

from stage import artifact
from tests import buckets
from workflow import copy_artifact
from workflow.chain import execution
from workflow.chain.errors import StageError, StaleError
from workflow.commands import running
from workflow.dataflow import looking
from workflow.run_file.reading import read_run

GIVEN = (
    *("runner.name=dataflow", "runner.dataflow.project=my-project"),
    *("runner.dataflow.region=europe-west4", "runner.dataflow.bucket=my-bucket"),
    *("output=runs/birds", "teacher.preset=tiny", "runner.dataflow.image=worker"),
    *("data.labeled=folder:labeled", "data.evaluation=folder:test"),
    "data.unlabeled=tfrecord:gs://my-images/*.tfrecord",
)
ROUND = pathlib.PurePath("runs/birds/round-1")
#: Directories that jobs on Dataflow make, in order.
MADE = ("teacher_predictions", "predictions", "selection", "dataset")
JOBS = ("label_images", "propagate_labels", "select_labels", "write_records")


def is_made(path):
    """Whether a flag's value is a directory that a stage has made."""
    return "runs/birds/" in path and artifact.is_complete(path)


class Stages:
    """Runs of stand-ins for stages, in this process.

    Attributes:
        calls: Arguments of Python of each command so far, as one text.
        failing: Text of the commands that fail.
        copies: Source, target and what was logged, of each copy of the last run.
    """

    def __init__(self, bucket):
        self.bucket = bucket
        self.calls, self.copies = [], []
        self.failing = "nothing fails"
        self.lines = []
        self._seconds = 0.0

    def run_command(self, name, arguments, **_):
        text = " ".join(arguments)
        self.calls.append(text)
        if self.failing in text:
            raise StageError(f"{name} ended with status 1")
        given = dict(
            word.removeprefix("--").split("=", 1)
            for word in arguments
            if word.startswith("--") and "=" in word
        )
        if arguments[1] == "workflow.copy_artifact":
            if "delete" in given:
                copy_artifact.delete(given["delete"])
            else:
                self.run_copy(given["source"], given["output"])
            return
        output = epath.Path(given.get("output") or given["workdir"])
        # As the settings of a stage have those of what it reads.
        read = [
            artifact.read_config(value)
            for name, value in given.items()
            if name not in ("output", "workdir") and is_made(value)
        ]
        if artifact.start_or_resume(output, {"arguments": text, "read": read}):
            return
        (output / "checkpoints").mkdir()
        (output / "checkpoints" / "state").write_text("state")
        (output / "rows").write_text(text)
        # Two trainings take different times.
        self._seconds += 1
        artifact.complete(output, seconds=self._seconds)

    def run_copy(self, source, target):
        copy_artifact.copy(
            source, target, log=lambda line: self.copies.append((source, target, line))
        )

    def run(self, *assignments, until="records", **options):
        """Runs what is to do; returns the commands, but for copies."""
        self.calls.clear()
        self.copies.clear()
        config = read_run(None, [*GIVEN, *assignments])
        more = running.Options(until=until, **options)
        running.run(config, more, self.lines.append)
        return self.modules

    @property
    def modules(self):
        names = [call.split()[1].rpartition(".")[2] for call in self.calls]
        return [name for name in names if name != "copy_artifact"]

    def called(self, *words):
        """Returns the calls that have all of some words."""
        return [call for call in self.calls if all(word in call for word in words)]

    def there(self, path):
        """Returns the content of a file in the bucket; None without it."""
        found = self.bucket.objects.get(str(path))
        return found and found.content


@pytest.fixture
def stages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("labeled", "test"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.png").touch()
    with buckets.serve(monkeypatch) as bucket:
        stages = Stages(bucket)
        monkeypatch.setattr(
            execution.Processes,
            "run",
            lambda _, *arguments, **more: stages.run_command(*arguments, **more),
        )
        monkeypatch.setattr(looking, "check_before_training", lambda *_: None)
        yield stages


@pytest.fixture
def finished(stages):
    stages.run()
    return stages


def test_jobs_that_read_all_images_run_in_the_cloud_and_come_home(finished, tmp_path):
    jobs = finished.called("--runner=DataflowRunner")
    assert [job.split()[1] for job in jobs] == [f"beam_jobs.{name}" for name in JOBS]
    for job, name in zip(jobs, MADE, strict=True):
        assert f"--output=gs://my-bucket/{ROUND}/{name} " in job
        for file in ("rows", "config.json", "COMPLETED"):
            here = (tmp_path / ROUND / name / file).read_bytes()
            assert here == finished.there(ROUND / name / file)
    assert not finished.called("FnApiRunner")


def test_a_job_reads_from_the_bucket_what_other_stages_have_made(finished):
    (job,) = finished.called("beam_jobs.select_labels")
    read = [f"--predictions=gs://my-bucket/{ROUND}/predictions"]
    read += [f"--exclude=gs://my-bucket/{ROUND}/excluded/set-{i}" for i in (1, 2)]
    assert all(f"{argument} " in job for argument in read)
    for name in ("labeled_predictions", "excluded/set-1", "teacher/member-1"):
        assert finished.there(ROUND / name / "COMPLETED")
        assert finished.there(ROUND / name / "rows")
        assert not finished.there(ROUND / name / "checkpoints/state")


def test_what_other_stages_read_is_here(stages):
    stages.run("teacher.folds=2", until="samples")
    cloud = [call for call in stages.calls if "--output=gs://" in call]
    jobs = [call for call in cloud if "copy_artifact" not in call]
    assert len(jobs) == 2  # With a calibration, nothing is blended.
    for call in jobs:
        assert f"--calibration={ROUND}/calibration" in call
    others = [c for c in stages.calls if c not in cloud and "copy_artifact" not in c]
    assert not [call for call in others if "gs://my-bucket" in call]
    (samples,) = stages.called("workflow.sample_images")
    assert "--images=tfrecord:gs://my-images/*.tfrecord" in samples
    assert samples.endswith("-- --runner=FnApiRunner")


def test_what_is_in_the_bucket_is_not_sent_again(stages):
    stages.run(until="labels")
    stages.run()
    sent = [(source, line) for source, target, line in stages.copies if ":" in target]
    lines = [line for source, line in sent if source.endswith("predictions")]
    assert lines == ["already there"] * 2  # For the selection, and for the dataset.
    assert len(sent) == 2 + 3


def test_a_finished_run_calls_nothing(finished):
    assert finished.run() == []
    assert finished.calls == []


def test_another_teacher_is_sent_and_its_labels_are_made_anew(finished, tmp_path):
    before = finished.there(ROUND / "teacher/member-1/rows")
    given = "teacher.settings.num_steps=70"
    with pytest.raises(StaleError, match="--set was not given, is num_steps=70"):
        finished.run(given)
    finished.run(given, remake=True)
    assert finished.there(ROUND / "teacher/member-1/rows") != before
    deleted = [
        call.split("=")[1]
        for call in finished.called("workflow.copy_artifact --delete=")
    ]
    assert deleted == [f"gs://my-bucket/{ROUND}/{name}" for name in MADE]
    rows = (tmp_path / ROUND / "teacher/member-1/rows").read_bytes()
    assert finished.there(ROUND / "teacher/member-1/rows") == rows


def test_what_was_begun_in_the_bucket_alone_is_stale_too(stages, tmp_path):
    """As when a command that waits for a job is interrupted, and a flag changed."""
    stages.failing = f"--source=gs://my-bucket/{ROUND}/teacher_predictions"
    with pytest.raises(StageError):
        stages.run(until="labels")
    assert not (tmp_path / ROUND / "teacher_predictions").exists()
    stages.failing = "nothing fails"
    given = 'labeling.flags=["--top_k=3"]'
    with pytest.raises(StaleError, match="--top_k was not given, is 3"):
        stages.run(given, until="labels")
    stages.run(given, until="labels", remake=True)
    assert b"--top_k=3" in stages.there(ROUND / "teacher_predictions/rows")


def test_killed_while_it_deletes_it_is_still_stale(finished):
    given = ('labeling.flags=["--top_k=3"]',)
    finished.failing = "--delete="
    with pytest.raises(StageError):
        finished.run(*given, remake=True)
    finished.failing = "nothing fails"
    with pytest.raises(StaleError):
        finished.run(*given)
    finished.run(*given, remake=True)
    assert finished.run(*given) == []


@pytest.mark.parametrize(
    "failing",
    [
        f"--output=gs://my-bucket/{ROUND}/teacher/member-1",
        "label_images",
        f"--source=gs://my-bucket/{ROUND}/teacher_predictions",
    ],
    ids=["upload", "job", "download"],
)
def test_nothing_follows_on_what_has_failed(stages, tmp_path, failing):
    stages.failing = failing
    with pytest.raises(StageError):
        stages.run()
    assert not artifact.is_complete(tmp_path / ROUND / "teacher_predictions")
    assert "propagate_labels" not in stages.modules
    stages.failing = "nothing fails"
    stages.run()
    assert artifact.is_complete(tmp_path / ROUND / "dataset")


def test_only_labeling_has_the_accelerator(stages):
    stages.run(
        "runner.dataflow.accelerator=nvidia-l4",
        "runner.dataflow.machine=g2-standard-16",
    )
    with_gpu = stages.called("--accelerator=nvidia-l4", "--machine_type=g2-standard-16")
    (job,) = stages.called("--accelerator")
    assert [job] == with_gpu
    assert "beam_jobs.label_images" in job
    assert "--engine=tensorflow --dtype=float32" in job


def test_only_labeling_has_an_accelerator_by_its_own_option(stages):
    value = "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver:latest"
    options = ["--disk_size_gb=60", f"--dataflow_service_options={value}"]
    stages.run(
        "runner.dataflow.accelerator=nvidia-l4", f"runner.dataflow.options={options}"
    )
    (job,) = stages.called(value)
    assert "beam_jobs.label_images" in job
    assert len(stages.called("--disk_size_gb=60")) == len(MADE)


def test_limits_are_those_of_every_job(stages):
    stages.run(
        *("runner.dataflow.max_workers=7", "runner.dataflow.max_hours=1.5"),
        *("runner.dataflow.machine=c3-standard-4", "labeling.dtype=bfloat16"),
        'runner.dataflow.options=["--disk_size_gb=60"]',
        "runner.dataflow.images_per_second=20",
    )
    limits = ("--max_num_workers=7", "--max_hours=1.5", "--machine_type=c3-standard-4")
    assert len(stages.called(*limits, "--disk_size_gb=60")) == len(MADE)
    (job,) = stages.called("--images_per_second=20")
    assert "--engine=openvino " in job
    assert "--dtype=bfloat16 " in job


def test_other_runners_read_and_write_here(stages):
    stages.run("runner.name=local")
    assert not stages.called("copy_artifact")
    assert not stages.called("gs://my-bucket")


def test_another_runner_makes_nothing_anew(stages):
    stages.run("runner.name=local")
    assert stages.run() == []


class TestTheLookBefore:
    """At the cloud, before anything is chosen or trained."""

    @pytest.fixture
    def looks(self, stages, monkeypatch):
        looks = []

        def look(config, log):
            looks.append(list(stages.calls))
            if stages.failing == "the look":
                raise StageError("FAIL container")

        monkeypatch.setattr(looking, "check_before_training", look)
        return looks

    @pytest.mark.parametrize("preset", ["tiny", "auto"], ids=["named", "chosen"])
    def test_nothing_is_read_or_trained_before(self, stages, looks, preset):
        stages.failing = "the look"
        with pytest.raises(StageError, match="FAIL container"):
            stages.run(f"teacher.preset={preset}")
        assert looks == [[]]
        assert stages.calls == []

    def test_it_is_made_until_all_rounds_have_their_dataset(self, stages, looks):
        stages.run()
        stages.run()
        assert len(looks) == 1
        stages.run("rounds.count=2", until="labels", number=2)
        assert len(looks) == 2

    def test_other_runners_do_not_look(self, stages, looks):
        stages.run("runner.name=local")
        assert not looks
