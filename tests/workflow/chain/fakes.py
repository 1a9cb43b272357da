"""Graphs of stages that take no time, and what they have made."""

from __future__ import annotations

import dataclasses
import pathlib
import random
from collections.abc import Mapping

from workflow.chain import lock
from workflow.chain.execution import Request, run
from workflow.chain.receipts import SourceFiles
from workflow.chain.stage import Stage, reads, settings

MODULE = "tests.workflow.chain.fake_stage"
#: Parents of each stage of a small graph.
DIAMOND = {"a": (), "b/left": ("a",), "b/right": ("a",), "c": ("b/left", "b/right")}


def graph(parents: Mapping[str, tuple[str, ...]], **values: object) -> dict[str, Stage]:
    """Returns stages by their parents; `values` are settings of stages by name."""
    return {
        name: Stage(
            name=name,
            module=MODULE,
            arguments=(*settings(value=values.get(name, 1)), *reads(read=read)),
        )
        for name, read in parents.items()
    }


def random_parents(rng: random.Random, count: int) -> dict[str, tuple[str, ...]]:
    """Returns the parents of each of some stages."""
    names = [f"stage-{number}" for number in range(count)]
    return {
        name: tuple(rng.sample(names[:index], rng.randint(0, min(index, 3))))
        for index, name in enumerate(names)
    }


def request(run: pathlib.Path, stages: Mapping[str, Stage], **more: object) -> Request:
    """Returns the request for all of some stages."""
    given = Request(
        run=str(run), shared=str(run), stages=stages, wanted=tuple(stages), jobs=2
    )
    return dataclasses.replace(given, **more)


def files(path: pathlib.Path) -> SourceFiles:
    """Returns what lists the sources of a run."""
    return SourceFiles(data_dir="", run=str(path))


def make(path: pathlib.Path, stages: Mapping[str, Stage], **more: object) -> list[str]:
    """Runs stages; returns the lines."""
    lines: list[str] = []
    with lock.held(str(path), lines.append) as descriptor:
        asked = request(path, stages, **more)
        run(asked, files(path), lines.append, keep_open=[descriptor])
    return lines


def started(lines: list[str]) -> list[str]:
    """Returns the names of the stages that were started."""
    found = (line.partition(": started") for line in lines)
    return [
        name for name, is_start, note in found if is_start and note[:1] in ("", ":")
    ]


def contents(path: pathlib.Path) -> dict[str, bytes]:
    """Returns the content of each file that stages have made by its path.

    Hidden ones are left by processes that were killed.
    """
    return {
        str(found.relative_to(path)): found.read_bytes()
        for found in sorted(path.rglob("*"))
        if found.is_file()
        and found.relative_to(path).parts[0] != "stages"
        and not found.name.startswith(".")
    }
