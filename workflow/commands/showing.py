"""A table of the stages of a run: what is done, what is stale, what is to do."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping

from stage import artifact, streams
from stage.text import printable
from workflow.chain import lock, receipts
from workflow.chain.receipts import Receipt, State, Status
from workflow.chain.stage import Stage
from workflow.commands import running
from workflow.run_file.config import RunConfig
from workflow.run_file.reading import RUN_FILE, read_run
from workflow.stages import Chain, Chosen

#: ANSI codes of the colors of states.
_COLORS = {"done": 32, "running": 36, "stale": 33}
_NUMBER = re.compile(r"-[0-9]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A stage in the table.

    Attributes:
        name: Name of the stage.
        word: `done`, `running`, `begun`, `stale` or `to do`.
        seconds: Seconds that it took, or has taken so far.
        expected: Seconds that it is expected to take, if that is known.
        reason: Why it is stale.
    """

    name: str
    word: str
    seconds: float | None = None
    expected: float | None = None
    reason: str = ""


def format_status(config: RunConfig, *, color: bool = False) -> Iterator[str]:
    """Yields a printable line for each stage of a run, and their sum."""
    rows = list_rows(config, now=time.time())
    seconds = sum(row.seconds or 0 for row in rows)
    count = sum(row.word == "done" for row in rows)
    rows.append(Row(name=f"{count} of {len(rows)} done", word="", seconds=seconds))
    width = max(len(row.name) for row in rows)
    yield f"{'stage':{width}}  {'state':8}{'seconds':>9}{'expected':>10}"
    for row in rows:
        yield _format(row, width, color=color)
    if any(row.word == State.STALE.value for row in rows):
        yield from _describe_changes(config)


def list_rows(config: RunConfig, *, now: float) -> list[Row]:
    """Returns the rows of the table; `now` is in seconds since 1970."""
    stages = _list_stages(config)
    files = running.source_files(config)
    found = propagate(
        stages,
        {
            name: receipts.find_status(stage, config.output, files)
            for name, stage in stages.items()
        },
    )
    owner = lock.find_owner(config.output)
    since = float("inf") if owner is None else owner.created
    taken = {n: receipts.find_seconds(s, config.output) for n, s in stages.items()}
    rows = []
    for name, stage in stages.items():
        status, receipt = found[name], receipts.read(stage, config.output)
        word, so_far = status.state.value, taken[name]
        if status.state is State.TODO and receipt is not None:
            word = _describe_begun(receipt, f"{config.output}/{name}", since)
            so_far = now - receipt.started if word == "running" else None
        rows.append(
            Row(
                name=name,
                word=word,
                seconds=so_far,
                expected=_expected(name, taken, status),
                reason="; ".join(status.reasons),
            )
        )
    return rows


def _describe_begun(receipt: Receipt, directory: str, since: float) -> str:
    """Returns the word for a stage that was started and is not complete."""
    if receipt.started >= since:
        return "running"
    is_begun = os.path.exists(os.path.join(directory, artifact.CONFIG))
    return "begun" if is_begun else State.TODO.value


def _describe_changes(config: RunConfig) -> Iterator[str]:
    """Yields lines about settings that are not those that made the run, if any."""
    changes = running.list_changes(config).rstrip()
    if changes:
        yield printable(changes)
        yield (
            "if --set= gave them to run, give them to status, too; `noisy-student "
            f"status {shlex.quote(config.output)}` has the settings that made the run"
        )


def warn_of_stale(run: str) -> str:
    """Returns that a report is of stages that do not belong together; "" if they do.

    Runs of earlier versions, without a run file, are not compared.
    """
    if not os.path.exists(f"{run}/{RUN_FILE}"):
        return ""
    rows = list_rows(read_run(run), now=time.time())
    stale = [row.name for row in rows if row.word == State.STALE.value]
    if not stale:
        return ""
    return (
        f"warning: these figures are of different settings or images: {len(stale)} "
        f"stages are stale, {stale[0]} first; `noisy-student status "
        f"{shlex.quote(run)}` says why"
    )


def propagate(
    stages: Mapping[str, Stage], found: Mapping[str, Status]
) -> dict[str, Status]:
    """Returns the states with stages as stale that read a stale one, however far."""
    states: dict[str, Status] = {}
    for name, status in found.items():
        stale = [
            parent
            for parent in stages[name].parents
            if parent in states and states[parent].state is State.STALE
        ]
        if status.state is State.DONE and stale:
            status = Status(State.STALE, (f"reads {stale[0]}",))
        states[name] = status
    return states


def _list_stages(config: RunConfig) -> dict[str, Stage]:
    """Returns the stages; without a choice yet, those of a network as teacher."""
    try:
        chosen = running.read_choice(config)
    except (OSError, ValueError):
        chosen = Chosen()
    return {
        **running.find_choice(config),
        **Chain(config, chosen, config.rounds.count).stages(),
    }


def _expected(
    name: str, taken: Mapping[str, float | None], status: Status
) -> float | None:
    """Returns the seconds of a stage before it is made anew, or of a similar one."""
    if status.state is State.DONE:
        return None
    pattern = _NUMBER.sub("-N", name)
    similar = [n for n in taken if _NUMBER.sub("-N", n) == pattern]
    known = (taken[other] for other in [name, *similar])
    return next((seconds for seconds in known if seconds is not None), None)


def _format(row: Row, width: int, *, color: bool) -> str:
    word = f"{row.word:8}"
    if color and row.word in _COLORS:
        word = f"\x1b[{_COLORS[row.word]}m{word}\x1b[0m"
    numbers = "".join(
        f"{number:>{size},.0f}" if number is not None else " " * size
        for number, size in ((row.seconds, 9), (row.expected, 10))
    )
    reason = f"  {printable(row.reason)}" if row.reason else ""
    return f"{row.name:{width}}  {word}{numbers}{reason}".rstrip()


def can_color() -> bool:
    """Whether stdout is a terminal, and NO_COLOR is not set (no-color.org)."""
    return streams.is_terminal() and not os.environ.get("NO_COLOR")
