"""Taking over stages of another run whose inputs are equal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from stage import artifact
from workflow.chain import receipts
from workflow.chain.execution import Request
from workflow.chain.progress import Log
from workflow.chain.receipts import SourceFiles, State

#: Directory in RUN/stages in which a stage is put together.
_UNFINISHED = "taking.removed"


def take_over(request: Request, other: str, files: SourceFiles, log: Log) -> None:
    """Links each stage of another run that is asked for in the same way.

    Files are linked, or copied to another file system. Stages that read one that
    differs are not taken over.

    Raises:
        ValueError: If there is no other run, or it is this one.
    """
    for name in find(request, other, files):
        stage = request.stages[name]
        asked = receipts.make(stage, request.run, files)
        skipped = {*_inner_stages(request, name), *artifact.SCRATCH}
        _link(f"{other}/{name}", request.run, name, skipped)
        receipts.write(asked, stage, request.run)
        log(f"{name}: taken from {other}")


def find(request: Request, other: str, files: SourceFiles) -> Iterator[str]:
    """Yields the names of the stages to take over, after those that they read.

    Raises:
        ValueError: If there is no other run, or it is this one.
    """
    check(request.run, other)
    found: set[str] = set()
    for name, stage in request.needed().items():
        parents = [parent for parent in stage.parents if parent in request.stages]
        has_parents = all(
            parent in found or artifact.is_complete(f"{request.run}/{parent}")
            for parent in parents
        )
        if not has_parents or os.path.exists(f"{request.run}/{name}"):
            continue
        asked = receipts.make(stage, request.run, files)
        if receipts.compare(stage, other, asked).state is State.DONE:
            found.add(name)
            yield name


def check(run: str, other: str) -> None:
    """Raises ValueError if there is no other run, or it is this one."""
    if not os.path.isdir(os.path.join(other, receipts.STAGES)):
        raise ValueError(
            f"--from={other}: expected the directory of a run, with {receipts.STAGES} "
            "in it"
        )
    if os.path.realpath(other) == os.path.realpath(run):
        raise ValueError(
            f"--from={other}: expected another run than the output; give --output=, "
            "the directory to make"
        )


def _inner_stages(request: Request, name: str) -> set[str]:
    """Returns the names of directories in that of a stage that other stages make."""
    return {
        inner.removeprefix(f"{name}/").partition("/")[0]
        for inner in request.stages
        if inner.startswith(f"{name}/")
    }


def _link(source: str, run: str, name: str, skipped: set[str]) -> None:
    """Links all files of a stage, which get their final name together."""

    def ignore(folder: str, names: list[str]) -> set[str]:
        hidden = {name for name in names if artifact.is_unfinished(name)}
        return hidden | (skipped if folder == source else set())

    unfinished = os.path.join(run, receipts.STAGES, _UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, ignore=ignore, copy_function=_link_file)
    os.makedirs(os.path.dirname(f"{run}/{name}"), exist_ok=True)
    os.rename(unfinished, f"{run}/{name}")


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
