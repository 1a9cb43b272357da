r"""Evaluates a student on labeled images, beside its pseudo-labels and its teacher.

  python -m student.evaluate --student=runs/photos/student \
      --evaluation=folder:photos/test --pseudo_labeled=runs/photos/dataset \
      --teacher=runs/photos/teacher --output=runs/photos/student_evaluation

With --pseudo_labeled it also measures how often the student, without noise, agrees with
its pseudo-labels; with --teacher, on how many images only one of the two is right. The
student's predictions of each image are in evaluation.parquet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_STUDENT = FLAGS.artifact("student")
_EVALUATION = FLAGS.evaluation()
_SOURCE = FLAGS.source()
_PSEUDO_LABELED = FLAGS.artifact("pseudo_labeled", " for the student", required=False)
_TEACHER = FLAGS.members("teacher", " that labeled for the student", required=False)
_OUTPUT = FLAGS.output("Directory of the evaluation to make.")


def main(argv: Sequence[str]) -> None:
    """Evaluates one student."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.data import inspection, leak
        from classifier.data.sources import open_source
        from classifier.inference.evaluation import write
        from student.evaluation import comparison

        student, teachers = _STUDENT.value, _TEACHER.value
        images = open_source(_EVALUATION.value, **_SOURCE.arguments())
        images = inspection.inspect(images)
        config, pseudo_labeled = comparison.check_inputs(
            student, images, pseudo_labeled=_PSEUDO_LABELED.value, teachers=teachers
        )
    with cli.making(_OUTPUT.value, config, started=started, log=log) as run:
        if run is None:
            return
        for line in leak.describe([student, *teachers], images):
            log(line)
        figures, rows = comparison.evaluate(
            student, images, pseudo_labeled=pseudo_labeled, teachers=teachers
        )
        write(_OUTPUT.value, figures, rows)
    for line in comparison.describe(figures):
        log(line)


if __name__ == "__main__":
    cli.run(main, FLAGS)
