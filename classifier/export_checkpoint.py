r"""Exports the newest checkpoint of a run.

  python -m classifier.export_checkpoint --workdir=DIR \
      --evaluation='{"num_examples": 600, "num_correct": 540, "cross_entropy": 0.4}'

`teacher.train --backend=jax` runs it, since TensorFlow is needed to export.
"""

from __future__ import annotations

from collections.abc import Sequence

from stage import cli, typed_json
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_WORKDIR = FLAGS.workdir("Directory of the run.")
_EVALUATION = FLAGS.string(
    "evaluation", None, "Final metrics of the run, as JSON.", required=True
)


def main(argv: Sequence[str]) -> None:
    """Exports one run."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.export.facts import Evaluation
        from classifier.training.export_run import export_checkpoint

        evaluation = typed_json.parse(
            _EVALUATION.value.encode(), Evaluation, "--evaluation"
        )
        export_checkpoint(_WORKDIR.value, evaluation)


if __name__ == "__main__":
    cli.run(main, FLAGS)
