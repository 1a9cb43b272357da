"""Looking at the cloud for what the jobs of a run need, before any is submitted."""

from __future__ import annotations

from collections.abc import Callable

from beam_jobs import label_images
from beam_jobs.io import filesystems
from beam_jobs.runners.run import parse_beam_arguments
from stage import artifact
from workflow.chain import runners
from workflow.chain.errors import StageError
from workflow.dataflow import checks, gcloud, target
from workflow.dataflow.target import Target
from workflow.run_file.config import RunConfig

#: Seconds to wait for an answer of gcloud.
TIME_LIMIT = 60.0


def read_target(config: RunConfig, *, builds_in_cloud: bool = True) -> Target:
    """Returns what the jobs of a run need.

    Raises:
        ValueError: For options or flags that one of its jobs would refuse.
    """
    runner, images = config.runner, config.images
    labeling, _ = (
        parse_beam_arguments(
            ["check", *runners.options(runner, labeling=is_labeling)], name="check"
        )
        for is_labeling in (True, False)
    )
    engine = runners.engine(config.labeling, runner)
    words = [argument.words(local="", shared="") for argument in engine]
    label_images.check_flags([*words, *config.labeling.flags], labeling)
    is_named = "gs://" in images.unlabeled
    return target.from_options(
        labeling,
        # A dataset of TFDS is in its directory, or named by its own.
        images=images.unlabeled if is_named else images.data_dir,
        owns_image=not runner.dataflow.image,
        builds_in_cloud=builds_in_cloud,
    )


def check_before_training(config: RunConfig, log: Callable[[str], None]) -> None:
    """Looks for what a run would train for hours without, and then fail.

    Without gcloud, only options, login and bucket are looked at.

    Raises:
        ValueError: For options or flags that one of its jobs would refuse.
        OSError: If the bucket cannot be reached.
        StageError: If something is missing, with a line for each.
    """
    found = read_target(config)
    if not gcloud.is_installed():
        filesystems.register()
        artifact.reach(config.runner.dataflow.bucket_path)
        log("there is no gcloud to look for region, machines and container with")
        return
    wrong = checks.before_training(
        found, lambda asked: gcloud.ask(asked, time_limit=TIME_LIMIT)
    )
    if lines := [f"\n  {finding}" for finding in wrong]:
        raise StageError(
            f"jobs on Dataflow would fail, see docs/dataflow.md:{''.join(lines)}"
        )
