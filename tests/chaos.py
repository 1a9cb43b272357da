r"""Labels images while workers and launchers are killed at random moments.

  python -m tests.chaos --kills=200 --seed=1

What a launcher that was killed has left undone, the next one does. Every output that
is completed must be, to the byte, that of an undisturbed run; then comes a fresh one.
"""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Sequence

from absl import flags

from stage import cli
from tests.infra import jobs
from tests.infra.disturbed import Chaos

_KILLS = flags.DEFINE_integer("kills", 200, "Processes to kill.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "Of the moments and the victims.")


def main(argv: Sequence[str]) -> None:
    """Runs it on images made for it."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    with tempfile.TemporaryDirectory() as root:
        jobs.prepare(pathlib.Path(root))
        chaos = Chaos(pathlib.Path(root), _SEED.value)
        toll = chaos.run(_KILLS.value, tell=lambda toll: cli.log(str(toll)))
        cli.log(f"chaos: {toll}, each as an undisturbed one; {chaos.seconds:.0f} s")


if __name__ == "__main__":
    cli.run(main)
