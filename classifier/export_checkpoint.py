r"""Exports a run's newest checkpoint; `teacher.train --backend=jax` starts it itself.

  python -m classifier.export_checkpoint --workdir=DIR \
      --evaluation='{"num_examples": 600, "num_correct": 540, "cross_entropy": 0.4}'
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from absl import flags

from stage import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
_EVALUATION = flags.DEFINE_string(
    "evaluation", None, "Its final figures, as JSON.", required=True
)


def main(argv: Sequence[str]) -> None:
    """Exports one run."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cli.load_tensorflow()
        from classifier.export.facts import Evaluation
        from classifier.training.export_run import export_checkpoint

        export_checkpoint(_WORKDIR.value, Evaluation(**json.loads(_EVALUATION.value)))


if __name__ == "__main__":
    cli.run(main)
