r"""Blends predictions with labels spread over a graph of similar images.

  python -m beam_jobs.propagate_labels --predictions=runs/photos/predictions \
      --labeled=runs/photos/labeled --output=runs/photos/propagated

The labels are propagated to all images by label spreading (Zhou et al. 2004). Both
inputs are made by beam_jobs.label_images with --embeddings and the same teachers; the
output is used as predictions. Beam's options follow `--`. Started again, the same
command goes on with what is not done yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from beam_jobs.runners import supervisor
from stage import cli, licenses
from stage.flags import CommandFlags, FlagGroup

FLAGS = CommandFlags()
_REQUEST = FlagGroup(
    predictions=FLAGS.artifact("predictions", " of the images, with --embeddings"),
    labeled=FLAGS.string(
        "labeled",
        None,
        "Directory that beam_jobs.label_images has made of the labeled images, with "
        "--embeddings and the same teachers.",
        required=True,
    ),
    neighbors=FLAGS.integer(
        "neighbors",
        10,
        "Number of most similar images that each image is connected to.",
        lower_bound=1,
        upper_bound=1000,
    ),
    alpha=FLAGS.number(
        "alpha",
        0.9,
        "Share of the neighbors' labels in those of an image, up to 0.99; the higher, "
        "the farther labels spread.",
    ),
    blend=FLAGS.number(
        "blend",
        0.5,
        "Share of the spread labels in the new probabilities; the rest is the "
        "teacher's.",
        lower_bound=0,
        upper_bound=1,
    ),
    tie_disagreements=FLAGS.boolean(
        "tie_disagreements",
        True,
        "Where the teacher's class is not that of the spread labels, give both the "
        "same probability, at most 0.5, so that a higher threshold leaves them out. A "
        "third class may then be the most probable one.",
    ),
    exact_images=FLAGS.integer(
        "exact_images",
        200_000,
        "Largest number of images in one exact graph, labeled ones included, and at "
        "most as many as fit into 4 GB; more are divided into cells.",
        lower_bound=1,
    ),
    embeddings=FLAGS.boolean(
        "embeddings",
        False,
        "Also write the embeddings, for --duplicate_similarity of "
        "beam_jobs.select_labels.",
    ),
)
_OUTPUT = FLAGS.output("Directory of the predictions to make.")


def main(argv: Sequence[str]) -> None:
    """Runs the propagation job."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        from beam_jobs.io import filesystems
        from beam_jobs.propagation import job as propagation_job
        from beam_jobs.propagation import pipeline
        from beam_jobs.runners.dataflow import job_options
        from beam_jobs.runners.run import log_end, parse_beam_arguments

        options = parse_beam_arguments(argv, name=_OUTPUT.value)
        filesystems.register(options)
        request = propagation_job.PropagationRequest(**_REQUEST.arguments())
        job_options.require_bucket(
            options,
            predictions=request.predictions,
            labeled=request.labeled,
            output=_OUTPUT.value,
        )
        job = propagation_job.plan(request, output=_OUTPUT.value)
        for warning in propagation_job.warn(job):
            log(f"warning: {warning}")
    with cli.making(_OUTPUT.value, job.config, started=started, log=log) as run:
        licenses.write(_OUTPUT.value, licenses.inherit(job.parents))
        if run is None:
            return
        pipeline.run(job, options, argv, log=log)
        lines = [pipeline.finish(job)]
        log_end(lines, _OUTPUT.value, options, log=log)


if __name__ == "__main__":
    cli.run(supervisor.supervised(main), FLAGS)
