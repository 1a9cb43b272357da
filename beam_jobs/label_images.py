r"""Labels every image of a source with a teacher, or with several.

  python -m beam_jobs.label_images --images=tfrecord:/data/unlabeled/*.tfrecord \
      --teacher=runs/photos/teacher --output=runs/photos/predictions

Beam's options follow `--`; without any, a process for each core does the work.
Started again, the same command labels only the shards that are not labeled yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from stage import artifact, cli

_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "Images to label: tfds:NAME:SPLIT, folder:PATH, tfrecord:GLOB or webdataset:GLOB.",
    required=True,
)
_IMAGE_FEATURE = flags.DEFINE_string(
    "image_feature", None, "Name of the records' encoded image, if not the usual one."
)
_ALLOW_NEW_SHARDS = flags.DEFINE_bool(
    "allow_new_shards", False, "Goes on although files were added since the first run."
)
_TEACHER = flags.DEFINE_multi_string(
    "teacher",
    [],
    "Directory of a trained classifier. Given several times, the mean of their "
    "probabilities counts",
)
_MODEL_HANDLER = flags.DEFINE_string(
    "model_handler",
    None,
    "MODULE:NAME or MODULE:NAME:ARGUMENT of a Beam ModelHandler from encoded images "
    "to logits, instead of a teacher.",
)
_CALIBRATION = flags.DEFINE_string(
    "calibration",
    None,
    "What teacher.calibrate has made of the same teachers: its temperature is theirs.",
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file, one class name a line; with --model_handler."
)
_ENGINE = flags.DEFINE_string(
    "engine", "auto", "tensorflow, openvino, or auto: the fastest of them here."
)
_DTYPE = flags.DEFINE_string(
    "dtype", "auto", "float32, bfloat16, or auto: the fastest that agrees."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of the predictions to make.", required=True
)
_TOP_K = flags.DEFINE_integer(
    "top_k", 10, "Classes kept of every image, at most all of them.", lower_bound=1
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", 100_000_000, "Of an image that is decoded.", lower_bound=1
)
_MAX_BAD_FRACTION = flags.DEFINE_float(
    "max_bad_fraction", 0.5, "Of the images; with more, the source is broken.", 0, 1
)
_ESTIMATE = flags.DEFINE_integer(
    "estimate",
    None,
    "Only tells what labeling so many images on Dataflow takes.",
    lower_bound=1,
)
_IMAGES_PER_SECOND = flags.DEFINE_float(
    "images_per_second", None, "Of a core or, with an accelerator, of a worker."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)


def main(argv: Sequence[str]) -> None:
    """Runs the labeling job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.runners.options import (
            is_dataflow,
            parse_beam_arguments,
            spread,
            threads_of_worker,
        )

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        if _ESTIMATE.value is not None:
            _tell_estimate(options)
            return
        cli.load_tensorflow()
        from beam_jobs.io import filesystems
        from beam_jobs.labeling import job as labeling_job
        from classifier.data import shard_manifest
        from classifier.data.sources import open_source

        settings = labeling_job.LabelingConfig(
            teachers=tuple(_TEACHER.value),
            model_handler=_MODEL_HANDLER.value,
            class_names_file=_CLASS_NAMES.value,
            calibration=_CALIBRATION.value,
            top_k=_TOP_K.value,
            engine=_ENGINE.value,
            dtype=_DTYPE.value,
            max_pixels=_MAX_PIXELS.value,
            max_bad_fraction=_MAX_BAD_FRACTION.value,
            allow_new_shards=_ALLOW_NEW_SHARDS.value,
        )
        filesystems.register(options)
        source = shard_manifest.match(
            open_source(
                _IMAGES.value,
                data_dir=_DATA_DIR.value,
                image_feature=_IMAGE_FEATURE.value,
            ),
            _OUTPUT.value,
            allow_new_shards=settings.allow_new_shards,
        )
        if is_dataflow(options):
            _check_for_dataflow(source.files[0].path)
        spread(options, argv, units=len(source.shards))
        threads = threads_of_worker(options)
        job = labeling_job.plan(
            source, settings, output=_OUTPUT.value, threads=threads, log=log
        )
        if labeling_job.begin(source, job, settings):
            log("already complete")
            return
    with cli.exit_on_job_error(), artifact.locked(_OUTPUT.value):
        speed = labeling_job.run(job.labeling, options, log=log)
        log(labeling_job.finish(job.labeling, **speed))
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started, **speed)


def _tell_estimate(options: Any) -> None:
    from beam_jobs.runners import cost, dataflow
    from beam_jobs.runners.options import (
        is_dataflow,
    )

    if not is_dataflow(options) or _IMAGES_PER_SECOND.value is None:
        raise ValueError(
            "--estimate needs --images_per_second and, behind --, Dataflow's options"
        )
    pool, prices = dataflow.pool(options), cost.Prices.read()
    rate = cost.rate_of_worker(_IMAGES_PER_SECOND.value, pool=pool, prices=prices)
    for line in cost.describe(
        cost.estimate(_ESTIMATE.value, images_per_second=rate, pool=pool, prices=prices)
    ):
        cli.log(line)


def _check_for_dataflow(image_path: str) -> None:
    from beam_jobs.runners import dataflow

    paths = {"images": image_path, "output": _OUTPUT.value}
    for teacher in _TEACHER.value:
        dataflow.require_bucket(teacher=teacher, **paths)
    if "auto" in (_ENGINE.value, _DTYPE.value) and _TEACHER.value:
        raise ValueError(
            "expected --engine and --dtype: the fastest on this machine need not "
            "be the fastest on Dataflow's workers"
        )


if __name__ == "__main__":
    cli.run(main)
