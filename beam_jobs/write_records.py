r"""Writes the selected images as a TFDS dataset.

  python -m beam_jobs.write_records --images=tfrecord:/data/unlabeled/*.tfrecord \
      --predictions=runs/photos/predictions --selection=runs/photos/selection \
      --output=runs/photos/dataset

Then `tfds.builder_from_directory("runs/photos/dataset")` opens it, and `python -m
pseudo_label.verify runs/photos/dataset` counts it again. Started again, the same
command writes only the shards that are not there yet. Beam's options follow `--`;
without any, a process for each core does the work if that is worth its start.
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
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of the dataset to make.", required=True
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards", 0, "TFRecord files to write; 0 for one per 4,096 records, at least 4."
)
_ROUND = flags.DEFINE_integer(
    "round",
    1,
    "Of self-training: in the second, what labels is a student of the first.",
    lower_bound=1,
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)


def main(argv: Sequence[str]) -> None:
    """Runs the writing job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.runners.options import parse_beam_arguments, spread

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        cli.load_tensorflow()
        from beam_jobs.io import filesystems
        from beam_jobs.writing import job as writing_job
        from classifier.data.sources import open_source

        filesystems.register(options)
        job = writing_job.plan(
            open_source(
                _IMAGES.value,
                data_dir=_DATA_DIR.value,
                image_feature=_IMAGE_FEATURE.value,
            ),
            predictions=_PREDICTIONS.value,
            selection=_SELECTION.value,
            round_number=_ROUND.value,
            num_shards=_NUM_SHARDS.value,
            output=_OUTPUT.value,
        )
        if job.units > 1:
            spread(options, argv, units=job.units)
        if artifact.start_or_resume(_OUTPUT.value, job.config):
            log("already complete")
            return
    with cli.exit_on_job_error(), artifact.locked(_OUTPUT.value):
        writing_job.run(job, options, log=log)
        log(writing_job.finish(job))
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


if __name__ == "__main__":
    cli.run(main)
