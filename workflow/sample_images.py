r"""Draws sample images for the contact sheets of the report.

  python -m workflow.sample_images --images=tfrecord:/data/unlabeled/*.tfrecord \
      --predictions=runs/photos/predictions --selection=runs/photos/selection \
      --exclude=runs/photos/test --exclude_images=folder:/data/test \
      --output=runs/photos/samples

Eight sheets: kept images by highest confidence, at random, just above the cut-off of
their class, and by number of copies; rejected images just below the cut-off; unreadable
images; leaked images; duplicates. If there are more than `--max_shards` input shards, a
random choice of shards is used, and "highest" refers to these. Runs in one process.
Beam's file-system options follow `--`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags, FlagGroup

FLAGS = CommandFlags()
_REQUEST = FlagGroup(
    **vars(FLAGS.image_source("The labeled images, named as for label_images.")),
    predictions=FLAGS.artifact("predictions"),
    selection=FLAGS.artifact("selection"),
    exclude=FLAGS.exclude("Predictions that were excluded, as given to select_labels"),
    exclude_images=FLAGS.strings(
        "exclude_images",
        [],
        "Images of each --exclude, in the same order; without them, matches are shown "
        "by their keys only",
    ),
    excluded_image_feature=FLAGS.string(
        "excluded_image_feature", None, "As --image_feature, of --exclude_images."
    ),
)
_OUTPUT = FLAGS.output("Directory of the samples to make.")
_SETTINGS = FlagGroup(
    per_sheet=FLAGS.integer(
        "per_sheet", 24, "Largest number of images per sheet.", lower_bound=1
    ),
    thumbnail_size=FLAGS.integer(
        "thumbnail_size", 96, "Longer side of a thumbnail in pixels.", lower_bound=1
    ),
    max_shards=FLAGS.integer(
        "max_shards", 64, "Largest number of input shards to draw from.", lower_bound=1
    ),
    seed=FLAGS.seed("the choice of images"),
)


def main(argv: Sequence[str]) -> None:
    """Draws the samples."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.runners.run import parse_beam_arguments

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        cli.load_tensorflow()
        from beam_jobs.io import filesystems
        from workflow.samples import drawing
        from workflow.samples.choice import SampleConfig

        filesystems.register(options)
        request = drawing.DrawingRequest(**_REQUEST.arguments())
        settings = SampleConfig(**_SETTINGS.arguments())
        job = drawing.plan(request, settings, output=_OUTPUT.value)
    with cli.making(_OUTPUT.value, job.config, started=started, log=log) as run:
        if run is None:
            return
        drawing.run(job, log=log)
        summary = drawing.format_summary(job)
    log(summary)


if __name__ == "__main__":
    cli.run(main, FLAGS)
