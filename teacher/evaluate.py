r"""Evaluates a teacher, or an ensemble of teachers, on labeled images.

  python -m teacher.evaluate --teacher=runs/photos/teacher \
      --evaluation=folder:photos/test --output=runs/photos/evaluation

Evaluates what the labeling job uses: the exported graph and, for an ensemble, the mean
of the probabilities. The predictions of each image are in evaluation.parquet.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_TEACHER = FLAGS.members("teacher")
_EVALUATION = FLAGS.evaluation()
_SOURCE = FLAGS.source()
_OUTPUT = FLAGS.output("Directory of the evaluation to make.")


def main(argv: Sequence[str]) -> None:
    """Evaluates one teacher, or one ensemble."""
    log = cli.log_for(_OUTPUT.value)
    started = time.monotonic()
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.data import inspection, leak
        from classifier.data.class_names import check_same_classes
        from classifier.data.sources import open_source
        from classifier.export.saved_model import read_ensemble_facts
        from classifier.inference import ensemble, evaluation

        facts = read_ensemble_facts(_TEACHER.value)
        source = open_source(_EVALUATION.value, **_SOURCE.arguments())
        check_same_classes(
            facts[0].class_names, source.labeled_class_names(), source.spec
        )
        source = inspection.inspect(source)
        config = {
            "teachers": [member.fingerprint for member in facts],
            "evaluation": source.describe(),
        }
    with cli.making(_OUTPUT.value, config, started=started, log=log) as run:
        if run is None:
            return
        for line in leak.describe(_TEACHER.value, source):
            log(line)
        rows = evaluation.evaluate(ensemble.Ensemble(_TEACHER.value), source)
        figures = evaluation.summarize(rows)
        evaluation.write(_OUTPUT.value, figures, rows)
    log(evaluation.describe(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
