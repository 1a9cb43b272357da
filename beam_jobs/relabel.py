r"""Labels images again with another head, from the embeddings in their predictions.

  python -m beam_jobs.relabel --predictions=runs/photos/predictions \
      --teacher=runs/photos/probe --output=runs/photos/relabeled

No image is opened and no network runs. The predictions are made by
beam_jobs.label_images with --embeddings and one teacher; the other teacher has the same
network before its last layer, as a probe of it has. The output is used as predictions.
Beam's options follow `--`. Started again, the same command goes on with the shards that
are not done yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from beam_jobs.runners import supervisor
from stage import cli, licenses
from stage.flags import CommandFlags, FlagGroup

FLAGS = CommandFlags()
_REQUEST = FlagGroup(
    predictions=FLAGS.artifact("predictions", ", with --embeddings and one teacher"),
    teacher=FLAGS.string(
        "teacher",
        None,
        "Directory of a classifier with the same features, such as a probe.",
        required=True,
    ),
    calibration=FLAGS.artifact(
        "calibration", " for this teacher, which has its temperature", required=False
    ),
    top_k=FLAGS.top_k(10, "Number of classes to keep per image, at most all classes."),
    embeddings=FLAGS.boolean(
        "embeddings",
        True,
        "Also write the embeddings, which beam_jobs.propagate_labels, "
        "--duplicate_similarity and another relabeling need; without them, writing "
        "takes a fraction of the time and space.",
    ),
)
_OUTPUT = FLAGS.output("Directory of the predictions to make.")


def main(argv: Sequence[str]) -> None:
    """Runs the relabeling job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.io import filesystems
        from beam_jobs.relabeling import job as relabeling_job
        from beam_jobs.runners.dataflow import job_options
        from beam_jobs.runners.run import log_end, parse_beam_arguments

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        filesystems.register(options)
        request = relabeling_job.RelabelingRequest(**_REQUEST.arguments())
        job_options.require_bucket(
            options,
            predictions=request.predictions,
            teacher=request.teacher,
            output=_OUTPUT.value,
        )
        job = relabeling_job.plan(request, output=_OUTPUT.value)
    with cli.making(_OUTPUT.value, job.config, started=started, log=log) as run:
        licenses.write(_OUTPUT.value, licenses.inherit(job.parents))
        if run is None:
            return
        relabeling_job.run(job, options, argv, log=log)
        lines = [relabeling_job.finish(job)]
        log_end(lines, _OUTPUT.value, options, log=log)


if __name__ == "__main__":
    cli.run(supervisor.supervised(main), FLAGS)
