"""Taking over stages of another run whose inputs are equal."""

from __future__ import annotations

import contextlib
import os
import shutil

from stage import artifact
from workflow.chain import receipts
from workflow.chain.execution import Log, Request, needed
from workflow.chain.receipts import SourceFiles, State


def take_over(request: Request, other: str, files: SourceFiles, log: Log) -> None:
    """Links each stage of another run that is asked for in the same way.

    Files are linked, or copied to another file system. Stages that read one that
    differs are not taken over.

    Raises:
        ValueError: If there is no other run, or it is this one.
    """
    if not os.path.isdir(os.path.join(other, receipts.STAGES)):
        raise ValueError(f"--from={other}: expected the directory of a run")
    if os.path.realpath(other) == os.path.realpath(request.run):
        raise ValueError(f"--from={other}: expected another run than the output")
    for name in needed(request.stages, request.wanted):
        stage = request.stages[name]
        parents = [p for p in stage.parents if p in request.stages]
        there = all(artifact.is_complete(f"{request.run}/{p}") for p in parents)
        if not there or os.path.exists(f"{request.run}/{name}"):
            continue
        asked = receipts.make(stage, request.run, files)
        source = f"{other}/{name}"
        if receipts.compare(stage, other, asked).state is not State.DONE:
            continue
        _link(source, f"{request.run}/{name}", nested=_nested(request, name))
        receipts.write(asked, stage, request.run)
        log(f"{name}: taken from {source}")


def _nested(request: Request, name: str) -> set[str]:
    """Returns the names of directories in a stage's that other stages make."""
    prefix = f"{name}/"
    return {
        other.removeprefix(prefix).partition("/")[0]
        for other in request.stages
        if other.startswith(prefix)
    }


def _link(source: str, target: str, *, nested: set[str]) -> None:
    """Links all files of an artifact, `COMPLETED` last."""
    skipped = {*nested, *artifact.SCRATCH}

    def ignore(folder: str, names: list[str]) -> set[str]:
        hidden = {name for name in names if artifact.is_unfinished(name)}
        is_top = folder == source
        return hidden | ({artifact.COMPLETED, *skipped} if is_top else set())

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(target)
    shutil.copytree(source, target, ignore=ignore, copy_function=_link_file)
    _link_file(f"{source}/{artifact.COMPLETED}", f"{target}/{artifact.COMPLETED}")


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
