r"""Reads randomly damaged files, and checks that nothing is lost or wrong unsaid.

  python -m tests.fuzz --seconds=60 --seed=1
  python -m tests.fuzz --target=tar --number=4711 --seed=1

The second form repeats one input. Each target is one reader of one kind of file; the
inputs that it does not stand are saved.
"""

from __future__ import annotations

import functools
import pathlib
import re
import sys
import tempfile
from collections.abc import Sequence

from stage import cli
from stage.flags import CommandFlags
from tests.fuzz import harness
from tests.fuzz.harness import Result, Target

FLAGS = CommandFlags()
_SECONDS = FLAGS.integer("seconds", 60, "Seconds for all targets.", lower_bound=1)
_SEED = FLAGS.integer("seed", 1, "Random seed of the inputs.")
_TARGET = FLAGS.string(
    "target", None, "Part of the name of the targets; all by default."
)
_NUMBER = FLAGS.integer("number", -1, "Number of the one input to repeat.")
_OUTPUT = FLAGS.string("output", "runs/fuzz", "Directory of the inputs with a fault.")


def main(argv: Sequence[str]) -> None:
    """Tries inputs of all targets; exits with status 1 if there is a fault."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    from tests.fuzz import targets

    with tempfile.TemporaryDirectory() as root:
        harness.run_alone(functools.partial(targets.prepare, pathlib.Path(root)))
        wanted = _TARGET.value or ""
        chosen = [t for t in targets.make(pathlib.Path(root)) if wanted in t.name]
        if not chosen:
            sys.exit(f"error: no target has {wanted!r} in its name")
        if _NUMBER.value >= 0:
            for target in chosen:
                target.check(target.input(_SEED.value, _NUMBER.value))
            return
        results = [_try(target, _SECONDS.value / len(chosen)) for target in chosen]
    faults = sum(len(result.faults) for result in results)
    tried = sum(result.tried for result in results)
    cli.log(f"{tried:,} inputs of {len(chosen)} targets, {faults} kinds of faults")
    sys.exit(1 if faults else 0)


def _try(target: Target, seconds: float) -> Result:
    result = harness.run_guarded(target, _SEED.value, seconds)
    cli.log(
        f"{target.name}: {result.tried:,} inputs, {result.read:,} read, "
        f"{result.refused:,} refused, {len(result.faults)} kinds of faults"
    )
    for fault in result.faults.values():
        name = re.sub(r"\W+", "-", f"{target.name}-{_SEED.value}-{fault.number}")
        path = pathlib.Path(_OUTPUT.value) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(target.input(_SEED.value, fault.number))
        path.with_suffix(".txt").write_text(fault.text)
        cli.log(
            f"  {result.counts[fault.kind]:,} times {fault.kind}\n"
            f"    {path}: python -m tests.fuzz --target='{target.name}' "
            f"--seed={_SEED.value} --number={fault.number}"
        )
    return result


if __name__ == "__main__":
    cli.run(main, FLAGS)
