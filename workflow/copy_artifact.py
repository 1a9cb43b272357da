r"""Copies the output of a stage, as a run does to and from Dataflow's bucket.

  python -m workflow.copy_artifact --source=runs/birds/round-1/selection \
      --output=gs://bucket/runs/birds/round-1/selection

Files that are there in the same size are kept if both have the same `config.json`.
`COMPLETED` is copied last, and what only resumed training reads is left out. A copy
that is complete and the same is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from etils import epath

from stage import artifact, cli, system
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_SOURCE = FLAGS.string("source", None, "Directory that a stage has made.")
_OUTPUT = FLAGS.output("Directory to make.", required=False)
_DELETE = FLAGS.string("delete", None, "Only delete this directory.")


def main(argv: Sequence[str]) -> None:
    """Copies or deletes one directory."""
    with cli.exit_on_job_error():
        cli.check_no_arguments(argv)
        is_copy = _SOURCE.value is not None and _OUTPUT.value is not None
        if is_copy == (_DELETE.value is not None):
            raise ValueError("expected --source and --output, or --delete")
        paths = [p for p in (_SOURCE.value, _OUTPUT.value, _DELETE.value) if p]
        if any("://" in path for path in paths):
            from beam_jobs.io import filesystems
            from beam_jobs.runners.run import parse_beam_arguments

            filesystems.register(parse_beam_arguments([""], name="copy"))
        if is_copy:
            copied = copy(_SOURCE.value, _OUTPUT.value)
            cli.log_for(_OUTPUT.value)(f"{copied:,} files copied")
        else:
            delete(_DELETE.value)


def copy(source: str, target: str) -> int:
    """Copies an artifact; returns the number of files that were copied.

    Raises:
        ValueError: If the source is not complete.
        OSError: If a file cannot be read or written.
    """
    origin = artifact.require_complete(source, "--source")
    goal = artifact.reach(target)
    completed = (origin / artifact.COMPLETED).read_bytes()
    if _read(goal / artifact.COMPLETED) == completed:
        return 0
    is_same = _read(goal / artifact.CONFIG) == (origin / artifact.CONFIG).read_bytes()
    if not is_same and goal.exists():
        delete(target)
    there = artifact.list_files(target) if is_same else {}
    sizes = artifact.list_files(source)
    wanted = [name for name, size in sizes.items() if there.get(name) != size]
    # First, as for each stage, so that a copy that is cut off tells what it is of.
    wanted.sort(key=lambda name: name != artifact.CONFIG)
    for name in wanted[:1]:
        _copy_file(f"{source}/{name}", f"{target}/{name}")
    system.read_in_parallel(
        lambda name: _copy_file(f"{source}/{name}", f"{target}/{name}"), wanted[1:]
    )
    artifact.write_bytes(goal / artifact.COMPLETED, completed)
    return len(wanted) + 1


def delete(directory: str) -> None:
    """Deletes a directory, `COMPLETED` first, if it is there."""
    path = artifact.reach(directory)
    (path / artifact.COMPLETED).unlink(missing_ok=True)
    if path.exists():
        path.rmtree()


def _read(path: epath.Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _copy_file(source: str, target: str) -> None:
    path = epath.Path(target)
    if "://" not in target:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    artifact.write_bytes(path, epath.Path(source).read_bytes())


if __name__ == "__main__":
    cli.run(main, FLAGS)
