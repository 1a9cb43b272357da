"""Trackers: what receives the figures of a run as it goes on, such as MLflow.

A tracker decides nothing: it is in no `config.json`, and a run may be started again
with others. Each receives every row of `metrics.jsonl` once, also if a run was killed,
if it was not reached for a while, or if an earlier start did not know it: the file
`trackers.json` of the workdir, which is no content of the artifact, says which of its
runs this is and how many rows it has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from classifier.training.tracker import RemoteTracker, RunSetup, Status, Tracker
from stage import artifact, cli, interruption, preemption, typed_json
from stage.cli import Log
from stage.extras import install_extra
from stage.text import printable

#: What a tracker's run is called, by kind of tracker: the module to import, the form of
#: what follows the colon, and that form in words.
KINDS = {
    "mlflow": ("mlflow", r"[a-z][a-z0-9+.-]*:.+|databricks", "a URI, http: or sqlite:"),
    "wandb": ("wandb", r"([\w.-]+/)?[\w.-]+", "PROJECT or ENTITY/PROJECT"),
}
#: Seconds without an attempt after one that failed, since each may take a while.
PAUSE_SECONDS = 300.0
#: Seconds that Ctrl-C waits for the trackers.
_END_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackerSpec:
    """A value of `--log_to`.

    Attributes:
        kind: One of `KINDS`.
        where: URI, or name of a project.
    """

    kind: str
    where: str

    def __str__(self) -> str:
        return printable(f"{self.kind}:{self.where}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run of a tracker, as `trackers.json` has it.

    Attributes:
        run_id: Name of the run there.
        rows: Number of rows of `metrics.jsonl` that it has.
    """

    run_id: str
    rows: typed_json.Count


def parse(log_to: Sequence[str]) -> tuple[TrackerSpec, ...]:
    """Returns the trackers that `--log_to` names.

    Raises:
        ValueError: If one is of no known form or named twice, or needs a package that
            is not installed.
    """
    specs = tuple(map(_parse_one, log_to))
    if len(set(specs)) < len(specs):
        raise ValueError("expected each --log_to= once")
    return specs


def _parse_one(text: str) -> TrackerSpec:
    kind, _, where = text.partition(":")
    if kind not in KINDS:
        raise ValueError(
            f"expected --log_to=mlflow:URI or --log_to=wandb:PROJECT, got {text!r}"
        )
    module, pattern, form = KINDS[kind]
    if re.fullmatch(pattern, where) is None:
        raise ValueError(f"--log_to={kind}: expected {form}, got {where!r}")
    if re.match(r"[^/]*//[^/]*@", where):
        raise ValueError(
            f"--log_to={kind}: expected a URI without user and password, which would "
            "be kept with the classifier; give them in the environment, see "
            "docs/tracking.md"
        )
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"--log_to={kind}: needs {module}: {install_extra(kind)}")
    return TrackerSpec(kind=kind, where=where)


@contextlib.contextmanager
def tracked(
    specs: Sequence[TrackerSpec],
    workdir: epath.PathLike,
    settings: Mapping[str, Any],
    log: Log,
) -> Iterator[tuple[Tracker, ...]]:
    """Opens trackers while the block runs; at its end they learn how it has ended.

    Raises:
        ValueError: If a tracker that begins a run cannot be reached, or `trackers.json`
            is broken. One that has a run of this workdir is logged, and left out.
    """
    runs = _Runs(epath.Path(workdir) / artifact.TRACKERS)
    setup = RunSetup(
        name=cli.short_name(workdir), workdir=workdir, settings=settings, run_id=None
    )
    trackers: list[PatientTracker] = []
    status: Status = "failed"

    def end(_: int) -> None:
        for tracker in trackers:
            tracker.finish("killed")

    try:
        for spec in specs:
            if opened := _open(spec, setup, runs, log):
                trackers.append(opened)
        with contextlib.ExitStack() as stack:
            if trackers:
                stack.enter_context(
                    interruption.on_interrupt(end, seconds=_END_SECONDS)
                )
            yield tuple(trackers)
        status = "finished"
    except (preemption.PreemptedError, KeyboardInterrupt):
        status = "killed"
        raise
    finally:
        for tracker in trackers:
            tracker.finish(status)


def _open(
    spec: TrackerSpec, setup: RunSetup, runs: _Runs, log: Log
) -> PatientTracker | None:
    known = runs.known.get(str(spec))
    setup = dataclasses.replace(setup, run_id=known.run_id if known else None)
    try:
        remote = _opener(spec.kind)(spec.where, setup)
    except Exception as error:  # Whatever the tracker's packages raise.
        reason = _in_a_line(error)
        if known is None:
            raise ValueError(
                f"--log_to={spec}: cannot be reached: {reason}; start its server or "
                "leave the flag out: the same command without it is the same training"
            ) from error
        log(f"{spec} cannot be reached, the next start sends the rest: {reason}")
        return None
    rows = known.rows if known else 0
    runs.update(str(spec), TrackedRun(run_id=remote.run_id, rows=rows))
    log(f"logging to {spec}, run {printable(remote.run_id)}")
    return PatientTracker(remote, str(spec), runs, log)


def _opener(kind: str) -> Callable[[str, RunSetup], RemoteTracker]:
    if kind == "mlflow":
        from classifier.training import mlflow_tracker

        return mlflow_tracker.open_run
    from classifier.training import wandb_tracker

    return wandb_tracker.open_run


class _Runs:
    """The file `trackers.json`; attribute `known` has its runs by `--log_to`."""

    def __init__(self, path: epath.Path) -> None:
        self._path = path
        self.known: dict[str, TrackedRun] = {}
        if path.exists():
            self.known = typed_json.read(path, dict[str, TrackedRun])

    def update(self, name: str, run: TrackedRun) -> None:
        """Writes a run into the file."""
        self.known[name] = run
        content = {name: dataclasses.asdict(run) for name, run in self.known.items()}
        artifact.write_json(self._path, content)


class PatientTracker:
    """A remote tracker that never fails, and gets each row once.

    Rows that an earlier start has sent are left out. Rows that cannot be sent are kept
    and tried again later.
    """

    def __init__(self, remote: RemoteTracker, name: str, runs: _Runs, log: Log) -> None:
        self._remote, self._name, self._runs, self._log = remote, name, runs, log
        self._received = 0
        self._pending: list[tuple[int, Mapping[str, float]]] = []
        self._try_again_at = 0.0
        self._is_failing = False

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Sends a row that the tracker does not have, and those kept before it."""
        self._received += 1
        if self._received > self._runs.known[self._name].rows:
            self._pending.append((step, values))
        if self._pending and time.monotonic() >= self._try_again_at:
            self._send()

    def finish(self, status: Status) -> None:
        """Sends what is left, and how the run has ended."""
        self._send()
        if not self._pending:
            self._attempt(lambda: self._remote.finish(status))

    def _send(self) -> None:
        while self._pending and self._attempt(
            lambda: self._remote.log_metrics(*self._pending[0])
        ):
            self._pending.pop(0)
            run = self._runs.known[self._name]
            self._runs.update(self._name, dataclasses.replace(run, rows=run.rows + 1))

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Returns whether an action succeeds; logs the first failure in a row."""
        try:
            action()
        except Exception as error:  # Whatever the tracker's packages raise.
            if not self._is_failing:
                self._log(
                    f"{self._name} has failed, the training goes on and tries it again "
                    f"every {PAUSE_SECONDS / 60:g} minutes: {_in_a_line(error)}"
                )
            self._is_failing = True
            self._try_again_at = time.monotonic() + PAUSE_SECONDS
            return False
        self._is_failing = False
        return True


def _in_a_line(error: Exception) -> str:
    return typed_json.shorten(printable(" ".join(str(error).split())) or repr(error))
