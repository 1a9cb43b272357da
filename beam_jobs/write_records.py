r"""Writes the selected images as a TFDS dataset.

  python -m beam_jobs.write_records --images=tfrecord:/data/unlabeled/*.tfrecord \
      --predictions=runs/photos/predictions --selection=runs/photos/selection \
      --output=runs/photos/dataset

`tfds.builder_from_directory("runs/photos/dataset")` opens it, and `python -m
pseudo_label.verify runs/photos/dataset` checks it. Started again, the same command
writes only the missing shards. Beam's options follow `--`; by default one worker
process runs on each core if the job is large enough.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from beam_jobs.runners import supervisor
from stage import artifact, cli, licenses
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_IMAGES = FLAGS.image_source("The images that were labeled, named as for label_images.")
_PREDICTIONS = FLAGS.artifact("predictions")
_SELECTION = FLAGS.artifact("selection")
_OUTPUT = FLAGS.output("Directory of the dataset to make.")
_NUM_SHARDS = FLAGS.num_shards(
    0, "Number of TFRecord files; 0 for one per 4,096 records, at least 4."
)
_ROUND = FLAGS.integer(
    "round",
    1,
    "Round of self-training; from round 2 on the teacher is the student before.",
    lower_bound=1,
)
_SHARDS = FLAGS.shards()


def main(argv: Sequence[str]) -> None:
    """Runs the writing job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.runners.dataflow import job_options
        from beam_jobs.runners.options import parse_part, spread
        from beam_jobs.runners.run import log_end, parse_beam_arguments

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        part = parse_part(_SHARDS.value, options)
        cli.load_tensorflow()
        from beam_jobs.io import filesystems
        from beam_jobs.writing import job as writing_job
        from classifier.data.sources import open_source

        filesystems.register(options)
        source = open_source(**_IMAGES.arguments())
        job_options.require_bucket(
            options,
            images=source.files[0].path,
            predictions=_PREDICTIONS.value,
            selection=_SELECTION.value,
            output=_OUTPUT.value,
        )
        job = writing_job.plan(
            source,
            predictions=_PREDICTIONS.value,
            selection=_SELECTION.value,
            round_number=_ROUND.value,
            num_shards=_NUM_SHARDS.value,
            output=_OUTPUT.value,
            part=part,
        )
        if job.units > 1:
            spread(options, argv, units=job.units)
    with (
        cli.exit_on_job_error(),
        artifact.beginning(
            _OUTPUT.value, job.config, part=part, scratch=writing_job.SCRATCH
        ) as is_complete,
    ):
        if part.is_whole or not is_complete:
            licenses.write(_OUTPUT.value, licenses.read(_PREDICTIONS.value))
        if is_complete:
            if part.is_whole:
                writing_job.write_card(job)
            log("already complete")
            return
        writing_job.run(job, options, log=log)
        if rest := writing_job.join(job):
            log(rest)
            return
        lines = [writing_job.finish(job)]
        log_end(lines, _OUTPUT.value, options, log=log)
        seconds = time.monotonic() - started
        leaving_out = writing_job.SCRATCH
        artifact.complete(_OUTPUT.value, seconds=seconds, leaving_out=leaving_out)


if __name__ == "__main__":
    cli.run(supervisor.supervised(main), FLAGS)
