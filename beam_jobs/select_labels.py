r"""Selects the best predictions of every class.

  python -m beam_jobs.select_labels --predictions=runs/photos/predictions \
      --calibration=runs/photos/calibration --target_precision=0.97 \
      --images_per_class=1000 --max_copies=3 --output=runs/photos/selection

Beam's options follow `--`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from beam_jobs.runners import supervisor
from stage import cli
from stage.flags import CommandFlags, FlagGroup

FLAGS = CommandFlags()
_REQUEST = FlagGroup(
    predictions=FLAGS.artifact("predictions"),
    calibration=FLAGS.artifact("calibration", required=False),
    target_precision=FLAGS.number(
        "target_precision",
        None,
        "Share of right labels that the threshold should reach on the images of "
        "--calibration; 0.97 with a calibration and without a threshold.",
    ),
    confidence_threshold=FLAGS.number(
        "confidence_threshold", None, "Lowest confidence to keep, in [0, 1]."
    ),
    class_thresholds=FLAGS.string(
        "class_thresholds",
        None,
        "JSON file {class name: lowest confidence}; --confidence_threshold for others.",
    ),
    adaptive=FLAGS.boolean(
        "adaptive",
        False,
        "Lower the threshold of classes with fewer confident images, as FlexMatch "
        "does; harms classes that really are rare.",
    ),
    images_per_class=FLAGS.integer(
        "images_per_class",
        0,
        "Number of records per class; 0 for the number of images divided by that of "
        "classes.",
        lower_bound=0,
        upper_bound=10**9,
    ),
    max_copies=FLAGS.integer(
        "max_copies",
        3,
        "Largest number of records of one image, written to fill its class.",
        lower_bound=1,
        upper_bound=1000,
    ),
    exclude=FLAGS.exclude(
        "Predictions, by the same teachers, of images that must not be selected: those "
        "to evaluate on, those that people labeled"
    ),
    duplicate_bits=FLAGS.integer(
        "duplicate_bits",
        0,
        "Number of the 64 bits of the perceptual hash in which two near-duplicate "
        "images of one predicted class may differ; the hash sees brightness, not "
        "color. -1 keeps near-duplicates.",
        lower_bound=-1,
        upper_bound=3,
    ),
    duplicate_similarity=FLAGS.number(
        "duplicate_similarity",
        None,
        "Images are leaks or near-duplicates, too, if the cosine of their embeddings "
        "is at least this; needs predictions with --embeddings. Every pair of a "
        "predicted class is compared.",
        lower_bound=0,
        upper_bound=1,
    ),
    what_if=FLAGS.boolean(
        "what_if", False, "Also report what other settings would keep."
    ),
)
_OUTPUT = FLAGS.output("Directory of the selection to make.")


def main(argv: Sequence[str]) -> None:
    """Runs the selection job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.io import filesystems
        from beam_jobs.runners.dataflow import job_options
        from beam_jobs.runners.options import is_local
        from beam_jobs.runners.run import log_end, parse_beam_arguments
        from beam_jobs.selection import job as selection_job
        from beam_jobs.selection import pipeline

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        filesystems.register(options)
        request = selection_job.SelectionRequest(**_REQUEST.arguments())
        job_options.require_bucket(
            options,
            predictions=request.predictions,
            exclude=request.exclude,
            output=_OUTPUT.value,
        )
        job = selection_job.plan(request, output=_OUTPUT.value)
        for warning in selection_job.warn(job, is_local=is_local(options)):
            log(f"warning: {warning}")
    with cli.making(_OUTPUT.value, job.config, started=started, log=log) as run:
        if run is None:
            return
        pipeline.run(job, options, argv, log=log)
        lines = pipeline.format_lines(_OUTPUT.value, job.predictions)
        log_end(lines, _OUTPUT.value, options, log=log)


if __name__ == "__main__":
    cli.run(supervisor.supervised(main), FLAGS)
