r"""Exports a run's newest checkpoint; `teacher.train --backend=jax` starts it itself.

  python -m classifier.export_checkpoint --workdir=DIR \
      --evaluation='{"num_examples": 600, "num_correct": 540, "cross_entropy": 0.4}'
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from absl import flags

from classifier import command

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run.", required=True)
_EVALUATION = flags.DEFINE_string(
    "evaluation", None, "Its final figures, as JSON.", required=True
)


def main(argv: Sequence[str]) -> None:
    """Exports one run."""
    with command.refusing_bad_input():
        command.refuse_arguments(argv)
        command.load_tensorflow()
        from classifier import export, train_loop

        export.export_checkpoint(
            _WORKDIR.value, train_loop.Evaluation(**json.loads(_EVALUATION.value))
        )


if __name__ == "__main__":
    command.run(main)
