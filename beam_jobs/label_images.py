r"""Labels every image of a source with a teacher, or with several.

  python -m beam_jobs.label_images --images=tfrecord:/data/unlabeled/*.tfrecord \
      --teacher=runs/photos/teacher --output=runs/photos/predictions \
      -- --direct_num_workers=2 --direct_running_mode=multi_processing

Beam's options follow `--`. Started again, the same command labels only the shards
that are not labeled yet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import flags

from classifier import artifact, command

_IMAGES = flags.DEFINE_string(
    "images",
    None,
    "Images to label: tfds:NAME:SPLIT, folder:PATH or tfrecord:GLOB.",
    required=True,
)
_TEACHER = flags.DEFINE_multi_string(
    "teacher",
    None,
    "Directory of a trained classifier. Given several times, the mean of their "
    "probabilities counts",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory of the predictions to make.", required=True
)
_TOP_K = flags.DEFINE_integer(
    "top_k", 10, "Classes kept of every image, at most all of them.", lower_bound=1
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)


def main(argv: Sequence[str]) -> None:
    """Runs the labeling job."""
    say = command.say_for(_OUTPUT.value)
    started = time.monotonic()
    with command.refusing_bad_input():
        from beam_jobs.runners import parse_beam_arguments

        options = parse_beam_arguments(argv)
        command.load_tensorflow()
        from beam_jobs import labeling
        from classifier.sources import open_source

        source = open_source(_IMAGES.value, data_dir=_DATA_DIR.value)
        job = labeling.plan(
            source, teachers=_TEACHER.value, top_k=_TOP_K.value, output=_OUTPUT.value
        )
        if artifact.begin(_OUTPUT.value, job.config):
            say("already complete")
            return
    labeling.run(source, job.labeling, options, say=say)
    say(labeling.finish(job.labeling))
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


if __name__ == "__main__":
    command.run(main)
