r"""Evaluates a student on labeled images, beside its pseudo-labels and its teacher.

  python -m student.evaluate --student=runs/photos/student \
      --evaluation=folder:photos/test --pseudo_labeled=runs/photos/dataset \
      --teacher=runs/photos/teacher --output=runs/photos/student_evaluation

With --pseudo_labeled it also says how many of the pseudo-labels the student agrees with
when there is no noise, with --teacher on how many images only one of them is right.
What the student says of each image stands in evaluation.parquet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import flags

from stage import artifact, cli

_STUDENT = flags.DEFINE_string(
    "student", None, "Directory of the trained student.", required=True
)
_EVALUATION = flags.DEFINE_string(
    "evaluation",
    None,
    "Labeled images: tfds:NAME:SPLIT, folder:PATH or tfrecord:GLOB.",
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Directory to make, for evaluation.json.", required=True
)
_PSEUDO_LABELED = flags.DEFINE_string(
    "pseudo_labeled", None, "What beam_jobs.write_records has made for the student."
)
_TEACHER = flags.DEFINE_multi_string(
    "teacher",
    [],
    "Directory of the classifier that labeled for it. Given several times, the mean of "
    "their probabilities counts",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where TFDS keeps its datasets; its own default if not given."
)
_CLASS_NAMES = flags.DEFINE_string(
    "class_names", None, "Text file, one class name a line; needed for tfrecord:."
)


def main(argv: Sequence[str]) -> None:
    """Evaluates one student."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.data.sources import open_source
        from classifier.inference.evaluation import write
        from student.evaluation import comparison

        images = open_source(
            _EVALUATION.value,
            data_dir=_DATA_DIR.value,
            class_names_file=_CLASS_NAMES.value,
        )
        plan = comparison.plan(
            _STUDENT.value,
            images,
            pseudo_labeled=_PSEUDO_LABELED.value,
            teachers=_TEACHER.value,
        )
        if artifact.start_or_resume(_OUTPUT.value, plan.config):
            log("already complete")
            return
    with cli.exit_on_job_error():
        figures, rows = comparison.carry_out(plan)
        write(_OUTPUT.value, figures, rows)
    for line in comparison.describe(figures):
        log(line)
    artifact.complete(_OUTPUT.value, seconds=time.monotonic() - started)


if __name__ == "__main__":
    cli.run(main)
