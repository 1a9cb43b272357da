r"""Labels 100 images on Dataflow with one worker, to try everything for some cents.

  make dataflow-smoke PROJECT=my-project REGION=us-central1 BUCKET=my-bucket
  python -m infra.dataflow_smoke --set=runner.dataflow.project=my-project \
      --set=runner.dataflow.region=us-central1 --set=runner.dataflow.bucket=my-bucket

Handwritten digits, whose labels are not used, and a teacher of few steps. It begins
anew each time, in runs/smoke. Of the settings only those of the cloud and of labeling
count: the others are for the run to come.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

from infra.dataflow import settings
from stage import cli
from stage.flags import CommandFlags
from workflow.run_file.config import (
    DataSection,
    DigitsSection,
    LabelingSection,
    RoundsSection,
    RunConfig,
    RunnerSection,
    TeacherSection,
)

FLAGS = CommandFlags()
_SETTINGS = settings.define(FLAGS)
_BUILDER = settings.define_builder(FLAGS)
RUN = "runs/smoke"
NUM_IMAGES = 100
#: Of 1,147 unlabeled digits all but `NUM_IMAGES` are set aside.
_DIGITS = DigitsSection(labels_per_class=5, calibration_images=1047)
_SEED = 1


def main(argv: Sequence[str]) -> None:
    """Checks, prepares, labels and counts."""
    with cli.exit_on_job_error():
        from infra.dataflow import checking

        given = settings.read(argv, _SETTINGS.value)
        config = plan(given)
        builds_in_cloud = _BUILDER.value == settings.CLOUD
        if checking.lacks_something(config, builds_in_cloud=builds_in_cloud):
            sys.exit(1)
        _prepare(config)
        _label(config)
        predictions = f"{RUN}/round-1/predictions"
        counts = count_statuses(predictions)
        if counts != {"ok": NUM_IMAGES}:
            found = ", ".join(f"{counts[name]} {name}" for name in sorted(counts))
            raise ValueError(
                f"expected {NUM_IMAGES} ok in {predictions}, got {found or 'no row'}"
            )
    for line in (
        f"Dataflow has labeled {NUM_IMAGES} images, and their rows are here",
        f"delete them in the bucket: gcloud storage rm --recursive {_remote(config)}",
        "next, see docs/dataflow.md: make estimate, then make labels RUNNER=dataflow",
    ):
        cli.log(line)


def plan(given: RunConfig) -> RunConfig:
    """Returns the settings of the small run: those of the cloud are as given."""
    dataflow = dataclasses.replace(
        given.runner.dataflow, max_workers=1, max_hours=1.0, images_per_second=0.0
    )
    # The engine of the demo need not be that of runs on Dataflow.
    is_demo = bool(given.data.digits.labels_per_class)
    labeling = LabelingSection() if is_demo else given.labeling
    rounds = RoundsSection(seed=_SEED)
    digits = RunConfig(output=RUN, data=DataSection(digits=_DIGITS), rounds=rounds)
    remote = f"{dataflow.bucket_path}{RUN}"
    images = dataclasses.replace(
        digits.images,
        unlabeled=f"tfrecord:{remote}/data/unlabeled/*.tfrecord",
        calibration="",
    )
    return RunConfig(
        output=RUN,
        data=images,
        teacher=TeacherSection(
            preset="tiny", consistency="off", settings={"num_steps": 100}
        ),
        labeling=dataclasses.replace(labeling, neighbors=0),
        rounds=rounds,
        runner=RunnerSection(name="dataflow", dataflow=dataflow),
    )


def count_statuses(directory: str) -> Counter[str]:
    """Returns the number of rows of each status in all files of predictions."""
    from pseudo_label.predictions import schema
    from pseudo_label.predictions.prediction_set import open_predictions

    predictions = open_predictions(directory)
    counts: Counter[str] = Counter()
    for index in range(predictions.num_shards):
        counts.update(schema.read_facts(predictions.path(index)).status_counts)
    return counts


def _remote(config: RunConfig) -> str:
    return f"{config.runner.dataflow.bucket_path}{RUN}"


def _prepare(config: RunConfig) -> None:
    """Makes the images, here and in the bucket, and deletes an earlier run."""
    from beam_jobs.io import filesystems
    from workflow import copy_artifact
    from workflow.stages import Chain, Chosen

    shutil.rmtree(RUN, ignore_errors=True)
    flags = {**dataclasses.asdict(_DIGITS), "seed": _SEED, "output": f"{RUN}/data"}
    words = [f"--{name}={value}" for name, value in flags.items()]
    module = [sys.executable, "-m", "workflow.digits"]
    if status := subprocess.run([*module, *words], check=False).returncode:
        sys.exit(f"error: workflow.digits ended with status {status}")
    filesystems.register()
    remote = _remote(config)
    for name in ("data", *Chain(config, Chosen(), 1).stages()):
        copy_artifact.delete(f"{remote}/{name}")
    copy_artifact.copy(f"{RUN}/data", f"{remote}/data", log=cli.log_for(remote))


def _label(config: RunConfig) -> None:
    from workflow.chain.errors import StageError
    from workflow.commands import running

    # The command itself begins anew.
    resume = f"noisy-student run {RUN} --until=labels"
    options = running.Options(until="labels", resume=resume)
    try:
        running.run(config, options, cli.log)
    except StageError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
