r"""Prints what labeling would take and cost on Dataflow, and submits nothing.

  make estimate RUNNER=dataflow PROJECT=my-project REGION=us-central1 \
      BUCKET=my-bucket NUM_IMAGES=130000000 RATE=20
  python -m infra.estimate --num_images=130000000 \
      --set=runner.dataflow.images_per_second=20 \
      --set=runner.dataflow.project=my-project \
      --set=runner.dataflow.region=us-central1 --set=runner.dataflow.bucket=my-bucket

A run file and further settings are those of the run to come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.dataflow import settings
from stage import cli
from stage.flags import CommandFlags
from stage.validation import check
from workflow.run_file.config import RunConfig

FLAGS = CommandFlags()
_SETTINGS = settings.define(FLAGS)
_NUM_IMAGES = FLAGS.integer(
    "num_images", None, "Number of images to label.", lower_bound=1, required=True
)


def main(argv: Sequence[str]) -> None:
    """Prints the estimate."""
    with cli.exit_on_user_error():
        config = settings.read(argv, _SETTINGS.value)
        for line in describe(config, _NUM_IMAGES.value):
            cli.log(line)


def describe(config: RunConfig, num_images: int) -> Iterator[str]:
    """Yields the estimate as lines for the user.

    Raises:
        ValueError: If no rate is given, or the options are those of no job.
    """
    from beam_jobs.labeling import billing
    from beam_jobs.runners.run import parse_beam_arguments
    from workflow.chain import runners
    from workflow.stages import Chain, Chosen

    rate = config.runner.dataflow.images_per_second
    check(
        rate > 0,
        "expected runner.dataflow.images_per_second (make: RATE=), such as 20: what a "
        "core labels or, with an accelerator, a worker",
    )
    options = runners.options(config.runner, labeling=True)
    is_blended = bool(Chain(config, Chosen(), num_rounds=1).neighbors)
    yield from billing.describe_estimate(
        parse_beam_arguments(["estimate", *options], name="estimate"),
        num_images=num_images,
        rate=rate,
        embeddings=is_blended or config.selection.duplicate_similarity is not None,
        blended=is_blended,
    )


if __name__ == "__main__":
    cli.run(main, FLAGS)
