"""Running stages: in the order in which they need each other, some side by side."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import graphlib
import shlex
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from stage import artifact, interruption
from workflow.chain import copying, receipts
from workflow.chain.errors import StageError, StaleError
from workflow.chain.process import Processes
from workflow.chain.progress import ChainProgress, Log
from workflow.chain.receipts import SourceFiles, State, Status
from workflow.chain.stage import Stage

#: Seconds that stages have to save their state after a signal.
_END_SECONDS = 600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to run.

    Attributes:
        run: Directory of the run.
        shared: The same where workers of other machines see it.
        stages: All stages by name, parents first.
        wanted: Names of the stages to make, with what they need.
        remake: Whether stale stages are deleted and made anew.
        jobs: Number of stages that run side by side.
        threads: Threads of a network's operation; 0: all cores.
        resume: Command that goes on after an interruption.
        has_bar: Whether a bar shows the progress on a terminal.
    """

    run: str
    shared: str
    stages: Mapping[str, Stage]
    wanted: tuple[str, ...]
    remake: bool = False
    jobs: int = 1
    threads: int = 0
    resume: str = "the same command"
    has_bar: bool = False

    def needed(self) -> dict[str, Stage]:
        """Returns the wanted stages and all that they need by name, parents first."""
        found: set[str] = set()
        pending = list(self.wanted)
        while pending:
            name = pending.pop()
            # The calibration of a probe is a directory in that of the probe.
            if name in self.stages and name not in found:
                found.add(name)
                pending += self.stages[name].parents
        return {name: stage for name, stage in self.stages.items() if name in found}


def find_statuses(request: Request, files: SourceFiles) -> dict[str, Status]:
    """Returns the state of each stage that is needed, by name."""
    return {
        name: receipts.find_status(stage, request.run, files)
        for name, stage in request.needed().items()
    }


def describe_stale(run: str, statuses: Mapping[str, Status], changes: str = "") -> str:
    """Returns the message about stale stages, with the reasons of each.

    `changes` is what else is known of the cause.
    """
    listed = "".join(
        f"\n  {name}: {'; '.join(status.reasons)}"
        for name, status in statuses.items()
        if status.state is State.STALE
    )
    return (
        f"stages of {run} were made by other settings or images:{listed}\n{changes}"
        "expected the same settings and images, --remake to make these and what reads "
        f"them anew, or --from={shlex.quote(run)} "
        "--output=OTHER to keep them"
    )


def run(
    request: Request, files: SourceFiles, log: Log, *, keep_open: Iterable[int] = ()
) -> None:
    """Runs the stages that are to do.

    After a failure no other stage is started, and those that run are waited for.

    Args:
        request: What to run.
        files: Fingerprints of sources.
        log: Receives a line for the user.
        keep_open: Files that stay open until the processes of stages have ended.

    Raises:
        StageError: If a stage has failed; the first of them.
        StaleError: If a stage is stale and may not be made anew.
    """
    processes = Processes(threads=request.threads, keep_open=tuple(keep_open))
    needed = request.needed()

    def end(number: int) -> str:
        processes.end(number)
        processes.wait()
        progress.close()
        return f"interrupted; {request.resume} goes on from here"

    with (
        ChainProgress(log, total=len(needed), has_bar=request.has_bar) as progress,
        interruption.on_interrupt(end, seconds=_END_SECONDS),
    ):

        def make(stage: Stage) -> None:
            _make(request, stage, files, processes, progress)
            progress.end(stage.name)

        try:
            run_in_order(needed, make, jobs=request.jobs)
        except KeyboardInterrupt:  # Of a program that has no handler, as a notebook.
            log(end(signal.SIGINT))
            raise


def run_in_order(
    stages: Mapping[str, Stage], make: Callable[[Stage], None], *, jobs: int
) -> None:
    """Calls `make` for each stage after its parents, for `jobs` at the same time.

    Raises the first exception of `make`, after which no stage is begun.
    """
    names = list(stages)
    sorter = graphlib.TopologicalSorter(
        {name: [p for p in stages[name].parents if p in stages] for name in names}
    )
    sorter.prepare()
    running: dict[concurrent.futures.Future[None], str] = {}
    ready: list[str] = []
    failure: BaseException | None = None
    with _pool(jobs) as pool:
        while sorter.is_active():
            ready = sorted((*ready, *sorter.get_ready()), key=names.index)
            while ready and len(running) < jobs and failure is None:
                name = ready.pop(0)
                running[pool.submit(make, stages[name])] = name
            if not running:
                break
            done, _ = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                name = running.pop(future)
                failure = failure or future.exception()
                if future.exception() is None:
                    sorter.done(name)
    if failure is not None:
        raise failure


@contextlib.contextmanager
def _pool(jobs: int) -> Iterator[concurrent.futures.Executor]:
    """Yields threads, which are waited for at the end unless Ctrl-C ends the block."""
    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        yield pool
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _make(
    request: Request,
    stage: Stage,
    files: SourceFiles,
    processes: Processes,
    progress: ChainProgress,
) -> None:
    """Makes a stage unless it is done."""
    run = request.run
    receipt = receipts.make(stage, run, files)
    status = receipts.compare(stage, run, receipt)
    if status.state is State.DONE:
        return

    def run_commands(commands: Iterable[Sequence[str]]) -> None:
        path = receipts.path_of(stage.name, run, ".log")
        for arguments in commands:
            processes.run(stage.name, arguments, log_path=path, show=progress.line)

    if status.state is State.STALE:
        if not request.remake:
            raise StaleError(describe_stale(run, {stage.name: status}))
        progress.line(f"{stage.name}: made anew: {'; '.join(status.reasons)}")
        # Elsewhere first: what is left of it could not be told from this stage's.
        run_commands(copying.deletion(stage, request.shared))
        receipts.forget(stage, run)
    receipts.sweep(stage, run)
    if not artifact.is_complete(f"{run}/{stage.name}"):
        receipts.write(receipt, stage, run)
    progress.begin(stage.name, stage.note)
    run_commands(copying.commands(stage, run, request.shared))
    if not artifact.is_complete(f"{run}/{stage.name}"):
        raise StageError(
            f"{stage.name} ended with status 0, but {run}/{stage.name} is not complete "
            f"(no {artifact.COMPLETED} in it); its output is in "
            f"{receipts.path_of(stage.name, run, '.log')}"
        )
    receipts.write(receipt, stage, run)
