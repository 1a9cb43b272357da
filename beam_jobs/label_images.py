r"""Labels every image of a source with a teacher or an ensemble of teachers.

  python -m beam_jobs.label_images --images=tfrecord:/data/unlabeled/*.tfrecord \
      --teacher=runs/photos/teacher --output=runs/photos/predictions

Beam's options follow `--`; by default one worker process runs on each core. Started
again, the same command labels only the shards that are not labeled yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from beam_jobs.runners import supervisor
from stage import artifact, cli, licenses
from stage.flags import SOURCES, CommandFlags, FlagGroup

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.labeling.job import LabelingConfig
    from classifier.data.sources import Source
    from stage.parts import Part

FLAGS = CommandFlags()
_IMAGES = FLAGS.image_source(f"Images to label: {SOURCES}.")
_LABEL_FEATURE = FLAGS.label_feature(", for --embeddings")
_OUTPUT = FLAGS.output("Directory of the predictions to make.")
_SETTINGS = FlagGroup(
    teachers=FLAGS.members("teacher", required=False),
    model_handler=FLAGS.string(
        "model_handler",
        None,
        "MODULE:NAME or MODULE:NAME:ARGUMENT of a Beam ModelHandler from encoded "
        "images to logits, instead of a teacher.",
    ),
    class_names_file=FLAGS.class_names(
        "with --model_handler, or for the labels that --embeddings stores of tfrecord: "
        "and webdataset:"
    ),
    calibration=FLAGS.artifact(
        "calibration",
        " for the same teachers, which has their temperature",
        required=False,
    ),
    top_k=FLAGS.top_k(10, "Number of classes to keep per image, at most all classes."),
    engine=FLAGS.choice(
        "engine",
        "auto",
        ["auto", "tensorflow", "openvino", "onnxruntime"],
        "What runs the teachers, onnxruntime those that are ONNX files; auto for the "
        "fastest on this machine.",
    ),
    dtype=FLAGS.choice(
        "dtype",
        "auto",
        ["auto", "float32", "bfloat16"],
        "What it multiplies in; auto for the fastest whose results agree with float32.",
    ),
    embeddings=FLAGS.boolean(
        "embeddings",
        False,
        "Also write the teacher's features of each image and, if the images are "
        "labeled, their labels: for beam_jobs.propagate_labels and relabel, for "
        "teacher.probe, and for --duplicate_similarity.",
    ),
    max_pixels=FLAGS.integer(
        "max_pixels", 100_000_000, "Largest image to decode, in pixels.", lower_bound=1
    ),
    max_bad_fraction=FLAGS.number(
        "max_bad_fraction",
        0.5,
        "Largest share of images without prediction; the job fails above it.",
        lower_bound=0,
        upper_bound=1,
    ),
    allow_new_shards=FLAGS.boolean(
        "allow_new_shards",
        False,
        "Continue although files were added since the first run.",
    ),
)
_SHARDS = FLAGS.shards()
_LICENSES = FLAGS.licenses(images=_IMAGES.spec, model_handler=_SETTINGS.model_handler)
_ESTIMATE = FLAGS.integer(
    "estimate",
    None,
    "Only print time and cost of labeling this many images on Dataflow.",
    lower_bound=1,
)
_BLENDED = FLAGS.boolean(
    "blended",
    False,
    "With --estimate: whether beam_jobs.propagate_labels blends the predictions, which "
    "then leave the cloud twice.",
)
_IMAGES_PER_SECOND = FLAGS.number(
    "images_per_second",
    None,
    "Expected throughput of a core of Dataflow's workers or, with an accelerator, of a "
    "worker: for --estimate, or to compare the cost with when it is known.",
)


def main(argv: Sequence[str]) -> None:
    """Runs the labeling job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.labeling import billing
        from beam_jobs.runners.dataflow.accelerators import accelerator_name
        from beam_jobs.runners.options import is_dataflow, spread
        from beam_jobs.runners.run import parse_beam_arguments, threads_of_worker

        stated = licenses.parse(**_LICENSES.arguments())
        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        if _IMAGES_PER_SECOND.value is not None and not is_dataflow(options):
            raise ValueError("--images_per_second needs Dataflow's options behind --")
        if _ESTIMATE.value is not None:
            _print_estimate(options)
            return
        part = _check_flags(options)
        cli.load_tensorflow()
        from beam_jobs.io import filesystems
        from beam_jobs.labeling import job as labeling_job

        settings = labeling_job.LabelingConfig(**_SETTINGS.arguments())
        filesystems.register(options)
        source = _open_images(settings)
        if is_dataflow(options):
            _check_for_dataflow(options, source.files[0].path)
        spread(options, argv, units=len(part.take(len(source.shards))))
        job = labeling_job.plan(
            source,
            settings,
            output=_OUTPUT.value,
            part=part,
            threads=threads_of_worker(options),
            accelerator=accelerator_name(options),
            log=log,
        )
    with (
        cli.exit_on_job_error(),
        labeling_job.beginning(source, job, settings) as is_complete,
    ):
        if part.is_whole or not is_complete:
            licenses.write(_OUTPUT.value, labeling_job.trace(source, settings, stated))
        if is_complete:
            log("already complete")
            return
        speed = labeling_job.run(job.labeling, options, log=log)
        if rest := labeling_job.describe_rest(job.labeling):
            log(rest)
            return
        summary = labeling_job.finish(
            job.labeling,
            source.shards,
            image_multiply_adds=job.image_multiply_adds,
            **speed,
        )
        rate = _IMAGES_PER_SECOND.value
        billing.log_end(summary, _OUTPUT.value, options, rate=rate, log=log)
        seconds = time.monotonic() - started
        artifact.complete(_OUTPUT.value, seconds=seconds, figures=speed)


def check_flags(words: Sequence[str], options: PipelineOptions) -> None:
    """Raises ValueError for flags that a job with Dataflow's options would refuse.

    Those of images, teachers and output may be left out.
    """
    values = FLAGS.check(["--teacher=unknown", *words])
    if others := [word for word in words if not word.startswith("--")]:
        raise ValueError(f"expected flags of beam_jobs.label_images, got {others[0]!r}")
    if values["estimate"].value is not None:
        raise ValueError("expected no --estimate among the flags of a job")
    _check_flags(options)
    _check_engine(options)


def _check_flags(options: PipelineOptions) -> Part:
    """Returns the part of `--shards`.

    Raises ValueError for a flag that needs another one, or a price.
    """
    from beam_jobs.labeling import billing
    from beam_jobs.runners.options import parse_part

    if _BLENDED.value:
        raise ValueError("--blended needs --estimate")
    if _LABEL_FEATURE.value is not None and not _SETTINGS.embeddings.value:
        raise ValueError("--label_feature needs --embeddings")
    billing.check_rate(options, _IMAGES_PER_SECOND.value)
    part = parse_part(_SHARDS.value, options)
    if not part.is_whole:
        _check_part()
    return part


def _check_part() -> None:
    """Raises ValueError for flags by which parts might not agree."""
    if _SETTINGS.allow_new_shards.value:
        raise ValueError(
            "--allow_new_shards needs a run without --shards, as parts must agree on "
            "the list of shards"
        )
    _require_engine("all parts must compute alike, on whatever machine each runs")


def _print_estimate(options: PipelineOptions) -> None:
    from beam_jobs.labeling import billing

    lines = billing.describe_estimate(
        options,
        num_images=_ESTIMATE.value,
        rate=_IMAGES_PER_SECOND.value,
        embeddings=_SETTINGS.embeddings.value,
        blended=_BLENDED.value,
    )
    for line in lines:
        cli.log(line)


def _open_images(settings: LabelingConfig) -> Source:
    """Returns the images, with the shards that an earlier run has numbered."""
    from classifier.data import shard_manifest
    from classifier.data.sources import open_source

    source = open_source(
        **_IMAGES.arguments(),
        label_feature=_LABEL_FEATURE.value,
        class_names_file=settings.class_names_file if settings.embeddings else None,
    )
    return shard_manifest.match(
        source, _OUTPUT.value, allow_new_shards=settings.allow_new_shards
    )


def _check_for_dataflow(options: PipelineOptions, image_path: str) -> None:
    from beam_jobs.runners.dataflow import job_options

    job_options.require_bucket(
        options,
        teacher=_SETTINGS.teachers.value,
        images=image_path,
        output=_OUTPUT.value,
    )
    _check_engine(options)


def _check_engine(options: PipelineOptions) -> None:
    from beam_jobs.runners.dataflow.accelerators import accelerator_name

    teachers = _SETTINGS.teachers.value
    _require_engine(
        "the fastest on this machine need not be the fastest on Dataflow's workers"
    )
    accelerator = accelerator_name(options)
    if teachers and accelerator and _SETTINGS.engine.value != "tensorflow":
        raise ValueError(
            f"expected --engine=tensorflow with {accelerator}, on which no other "
            f"engine runs; got {_SETTINGS.engine.value}"
        )


def _require_engine(reason: str) -> None:
    teachers = _SETTINGS.teachers.value
    if teachers and "auto" in (_SETTINGS.engine.value, _SETTINGS.dtype.value):
        raise ValueError(f"expected --engine and --dtype: {reason}")


if __name__ == "__main__":
    cli.run(supervisor.supervised(main), FLAGS)
