"""Commands that copy a stage's directories, if its workers are elsewhere."""

import dataclasses

from workflow.chain import copying
from workflow.chain.stage import Stage, reads, settings

STAGE = Stage(
    name="round-1/selection",
    module="beam_jobs.select_labels",
    arguments=(*settings(seed=1), *reads(predictions="round-1/predictions")),
)
COPY = ["-m", "workflow.copy_artifact"]


def test_a_stage_of_this_machine_is_one_command():
    assert copying.commands(STAGE, "run", "gs://b/run") == [STAGE.command("run", "run")]
    assert copying.deletion(STAGE, "gs://b/run") == []


def test_what_workers_elsewhere_read_is_copied_before_and_what_they_make_after():
    stage = dataclasses.replace(STAGE, is_shared=True)
    upload, command, download = copying.commands(stage, "run", "gs://b/run")
    here, there = "run/round-1", "gs://b/run/round-1"
    assert upload == [
        *(*COPY, f"--source={here}/predictions", f"--output={there}/predictions")
    ]
    assert f"--predictions={there}/predictions" in command
    assert f"--output={there}/selection" in command
    assert download == [
        *(*COPY, f"--source={there}/selection", f"--output={here}/selection")
    ]


def test_only_the_directory_of_the_stage_is_deleted_there():
    stage = dataclasses.replace(STAGE, is_shared=True)
    assert copying.deletion(stage, "gs://b/run") == [
        [*COPY, "--delete=gs://b/run/round-1/selection"]
    ]
