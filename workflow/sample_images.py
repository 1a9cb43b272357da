r"""Draws images to look at, for the report's contact sheets.

  python -m workflow.sample_images --images=tfrecord:/data/unlabeled/*.tfrecord \
      --predictions=runs/photos/predictions --selection=runs/photos/selection \
      --exclude=runs/photos/test --exclude_images=folder:/data/test \
      --output=runs/photos/samples

Eight sheets: the surest of the images kept, random ones, those kept and not kept that
are next to the cut of their class, those copied most; and of those that could not be
read, leaked or are there twice. Of a corpus with more than `--max_shards` input shards
they are taken from so many, chosen at random: "the surest" are those of these shards.
It is no pipeline, but one process. Beam's options of
file systems follow `--`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import flags

from stage import artifact, cli

_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "The images that were labeled, as they were named then.",
    required=True,
)
_IMAGE_FEATURE = flags.DEFINE_string(
    "image_feature", None, "Name of the records' encoded image, if not the usual one."
)
_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "What beam_jobs.label_images has made.", required=True
)
_SELECTION = flags.DEFINE_string(
    "selection", None, "What beam_jobs.select_labels has made of it.", required=True
)
_EXCLUDE = flags.DEFINE_multi_string(
    "exclude",
    [],
    "Predictions of images that leaked ones are twins of, as select_labels had them.",
)
_EXCLUDE_IMAGES = flags.DEFINE_multi_string(
    "exclude_images",
    [],
    "The images of each --exclude, in their order; without them only their keys are "
    "shown.",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of the samples to make.", required=True
)
_PER_SHEET = flags.DEFINE_integer("per_sheet", 24, "Images of a sheet.", lower_bound=1)
_THUMBNAIL_SIZE = flags.DEFINE_integer(
    "thumbnail_size", 96, "Pixels of a thumbnail's longer side.", lower_bound=1
)
_MAX_SHARDS = flags.DEFINE_integer(
    "max_shards", 64, "Input shards that images are taken from.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Another one draws other images.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)


def main(argv: Sequence[str]) -> None:
    """Draws the samples."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.runners.options import parse_beam_arguments

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        cli.load_tensorflow()
        from beam_jobs.io import filesystems
        from workflow.samples import drawing
        from workflow.samples.choice import SampleConfig

        filesystems.register(options)
        request = drawing.DrawingRequest(
            images=_IMAGES.value,
            predictions=_PREDICTIONS.value,
            selection=_SELECTION.value,
            exclude=tuple(_EXCLUDE.value),
            exclude_images=tuple(_EXCLUDE_IMAGES.value),
            data_dir=_DATA_DIR.value,
            image_feature=_IMAGE_FEATURE.value,
        )
        settings = SampleConfig(
            per_sheet=_PER_SHEET.value,
            thumbnail_size=_THUMBNAIL_SIZE.value,
            max_shards=_MAX_SHARDS.value,
            seed=_SEED.value,
        )
        job = drawing.plan(request, settings, output=_OUTPUT.value)
        if artifact.start_or_resume(_OUTPUT.value, job.config):
            log("already complete")
            return
    with cli.exit_on_job_error(), artifact.locked(_OUTPUT.value):
        drawing.run(job, log=log)
        log(drawing.tell(job))
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


if __name__ == "__main__":
    cli.run(main)
