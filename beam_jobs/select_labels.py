r"""Selects, of all predictions, the best of every class.

  python -m beam_jobs.select_labels --predictions=runs/photos/predictions \
      --calibration=runs/photos/calibration --target_precision=0.97 \
      --images_per_class=1000 --max_copies=3 --output=runs/photos/selection

Beam's options follow `--`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from stage import artifact, cli

_PREDICTIONS = flags.DEFINE_string(
    "predictions", None, "What beam_jobs.label_images has made.", required=True
)
_CALIBRATION = flags.DEFINE_string(
    "calibration", None, "What teacher.calibrate has made of labeled images."
)
_TARGET_PRECISION = flags.DEFINE_float(
    "target_precision",
    None,
    "Share of the kept labels that shall be right, judged by --calibration; 0.97 if "
    "that is there and no threshold is given.",
)
_THRESHOLD = flags.DEFINE_float(
    "confidence_threshold", None, "Lowest confidence to keep, in [0, 1]."
)
_CLASS_THRESHOLDS = flags.DEFINE_string(
    "class_thresholds",
    None,
    "JSON file {class name: lowest confidence}; --confidence_threshold for others.",
)
_ADAPTIVE = flags.DEFINE_bool(
    "adaptive",
    False,
    "Lower the threshold of classes with fewer confident images, as FlexMatch does; "
    "harms classes that are rare indeed.",
)
_IMAGES_PER_CLASS = flags.DEFINE_integer(
    "images_per_class",
    0,
    "Records each class shall have; 0 for an even share of all images labeled.",
    lower_bound=0,
)
_MAX_COPIES = flags.DEFINE_integer(
    "max_copies",
    3,
    "How often one image may be written to fill its class.",
    lower_bound=1,
)
_EXCLUDE = flags.DEFINE_multi_string(
    "exclude",
    [],
    "Predictions, by the same teachers, of images that must not be learned from: "
    "those to evaluate on, those that are labeled.",
)
_DUPLICATE_BITS = flags.DEFINE_integer(
    "duplicate_bits",
    0,
    "Of the 64 of the perceptual hash, in how many images that look the same may "
    "differ; -1 keeps what looks the same.",
    lower_bound=-1,
    upper_bound=3,
)
_WHAT_IF = flags.DEFINE_bool(
    "what_if", False, "Also tell what other settings would keep."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of the selection to make.", required=True
)


def main(argv: Sequence[str]) -> None:
    """Runs the selection job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.io import filesystems
        from beam_jobs.runners.options import is_local, parse_beam_arguments
        from beam_jobs.selection import job as selection_job
        from beam_jobs.selection import pipeline

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        filesystems.register(options)
        job = _plan()
        for warning in selection_job.warn(job, is_local=is_local(options)):
            log(f"warning: {warning}")
        if artifact.start_or_resume(_OUTPUT.value, job.config):
            log("already complete")
            return
    with cli.exit_on_job_error(), artifact.locked(_OUTPUT.value):
        pipeline.run(job, options, argv)
    for line in pipeline.tell(_OUTPUT.value):
        log(line)
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


def _plan() -> Any:
    from beam_jobs.selection import job as selection_job

    return selection_job.plan(
        selection_job.SelectionRequest(
            predictions=_PREDICTIONS.value,
            calibration=_CALIBRATION.value,
            target_precision=_TARGET_PRECISION.value,
            confidence_threshold=_THRESHOLD.value,
            class_thresholds=_CLASS_THRESHOLDS.value,
            adaptive=_ADAPTIVE.value,
            images_per_class=_IMAGES_PER_CLASS.value,
            max_copies=_MAX_COPIES.value,
            exclude=tuple(_EXCLUDE.value),
            duplicate_bits=_DUPLICATE_BITS.value,
            what_if=_WHAT_IF.value,
        ),
        output=_OUTPUT.value,
    )


if __name__ == "__main__":
    cli.run(main)
