r"""Labels images while workers, jobs and their parents are killed at random times.

  python -m tests.chaos --kills=200 --seed=1

The command is started again until it completes its output, whose bytes must be those
of an undisturbed run; then it starts with a new output.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags
from tests.infra import jobs
from tests.infra.disturbed import Chaos

FLAGS = CommandFlags()
_KILLS = FLAGS.integer("kills", 200, "Number of processes to kill.", lower_bound=1)
_SEED = FLAGS.integer("seed", 1, "Random seed of the times and processes of the kills.")


def main(argv: Sequence[str]) -> None:
    """Runs the test on random images."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    with tempfile.TemporaryDirectory() as root:
        jobs.prepare(pathlib.Path(root))
        chaos = Chaos(pathlib.Path(root), _SEED.value)
        toll = chaos.run(_KILLS.value, log=lambda toll: cli.log(str(toll)))
        cli.log(f"chaos: {toll}, all with the same bytes; {chaos.seconds:.0f} s")


if __name__ == "__main__":
    cli.run(main, FLAGS)
