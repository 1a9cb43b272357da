"""A table of the stages of a run: what is done, what is stale, what is to do."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping

from stage import artifact, streams
from stage.text import printable
from workflow.chain import execution, receipts
from workflow.chain.receipts import State, Status
from workflow.chain.stage import Stage
from workflow.commands import running
from workflow.run_file.config import AUTO, RunConfig
from workflow.stages import CHOICE, Chain, Chosen, choice_stages

#: ANSI codes of the colors of states.
_COLORS = {"done": 32, "running": 36, "stale": 33}
_NUMBER = re.compile(r"-[0-9]+")


def format_status(config: RunConfig, *, color: bool = False) -> Iterator[str]:
    """Yields a line for each stage of a run.

    Expected seconds are those of the same stage of another round or member.
    """
    stages = _list_stages(config)
    files = running.source_files(config)
    found = {
        name: receipts.find_status(stage, config.output, files)
        for name, stage in stages.items()
    }
    seconds = {name: _seconds(config.output, name) for name in stages}
    is_running = execution.is_running(config.output)
    width = max(map(len, stages))
    yield f"{'stage':{width}}  {'state':8}{'seconds':>9}{'expected':>10}"
    for name, stage in stages.items():
        yield _format_line(
            name.ljust(width),
            _word(stage, found, config.output, is_running),
            _elapsed(stage, config.output, seconds[name], is_running),
            _expected(name, seconds),
            found[name].reasons,
            color=color,
        ).rstrip()


def _list_stages(config: RunConfig) -> dict[str, Stage]:
    """Returns the stages; without a choice yet, those of a network as teacher."""
    if AUTO not in (config.teacher.preset, config.student.preset):
        return Chain(config, Chosen(), config.rounds.count).stages()
    is_chosen = artifact.is_complete(os.path.join(config.output, CHOICE))
    chosen = running.read_choice(config) if is_chosen else Chosen()
    return {
        **choice_stages(config),
        **Chain(config, chosen, config.rounds.count).stages(),
    }


def _word(stage: Stage, found: Mapping[str, Status], run: str, is_running: bool) -> str:
    status = found[stage.name]
    if status.state is State.TODO and is_running and receipts.read(stage, run):
        return "running"
    if status.state is State.DONE and _has_stale_parent(stage, found):
        return "stale"
    return status.state.value


def _has_stale_parent(stage: Stage, found: Mapping[str, Status]) -> bool:
    parents = (found[name] for name in stage.parents if name in found)
    return any(parent.state is State.STALE for parent in parents)


def _seconds(run: str, name: str) -> float | None:
    directory = os.path.join(run, name)
    if not artifact.is_complete(directory):
        return None
    return artifact.read_completed(directory).seconds


def _elapsed(
    stage: Stage, run: str, seconds: float | None, is_running: bool
) -> float | None:
    """Returns the seconds that a stage has taken, so far if it runs."""
    receipt = receipts.read(stage, run)
    if seconds is None and is_running and receipt is not None:
        return time.time() - receipt.started
    return seconds


def _expected(name: str, seconds: Mapping[str, float | None]) -> float | None:
    """Returns the seconds of a stage that differs in numbers alone."""
    if seconds[name] is not None:
        return None
    pattern = _NUMBER.sub("-N", name)
    known = (
        taken
        for other, taken in seconds.items()
        if taken is not None and _NUMBER.sub("-N", other) == pattern
    )
    return next(known, None)


def _format_line(
    name: str,
    word: str,
    elapsed: float | None,
    expected: float | None,
    reasons: tuple[str, ...],
    *,
    color: bool,
) -> str:
    columns = [
        f"{number:>{width},.0f}" if number is not None else " " * width
        for number, width in ((elapsed, 9), (expected, 10))
    ]
    shown = f"{word:8}"
    if color and word in _COLORS:
        shown = f"\x1b[{_COLORS[word]}m{shown}\x1b[0m"
    reason = f"  {printable('; '.join(reasons))}" if reasons else ""
    return f"{name}  {shown}{''.join(columns)}{reason}"


def can_color() -> bool:
    """Whether stdout is a terminal, and NO_COLOR is not set (no-color.org)."""
    return streams.is_terminal() and not os.environ.get("NO_COLOR")
