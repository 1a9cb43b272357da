"""Running stages: in the order in which they need each other, some side by side."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import graphlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import psutil

from stage import interruption, typed_json
from workflow.chain import copying, receipts
from workflow.chain.errors import StaleError
from workflow.chain.process import Processes
from workflow.chain.receipts import SourceFiles, State
from workflow.chain.stage import Stage

#: Receives a line for the user.
Log = Callable[[str], None]
#: File in RUN/stages that is locked while stages run, with who does it.
_LOCK = "running.json"
#: Seconds that stages have to save their state after a signal.
_END_SECONDS = 600.0
#: Seconds to wait for stages of a command that was killed.
_WAIT_SECONDS = 120.0


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
    """

    run: str
    shared: str
    stages: Mapping[str, Stage]
    wanted: tuple[str, ...]
    remake: bool = False
    jobs: int = 1
    threads: int = 0
    resume: str = "the same command"


def needed(stages: Mapping[str, Stage], wanted: Iterable[str]) -> tuple[str, ...]:
    """Returns the names of stages and of all that they need, parents first."""
    found: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name in stages and name not in found:
            found.add(name)
            pending += stages[name].parents
    return tuple(name for name in stages if name in found)


def check_stale(request: Request, files: SourceFiles) -> None:
    """Raises StaleError if a stage is stale and may not be made anew."""
    if request.remake:
        return
    lines = []
    for name in needed(request.stages, request.wanted):
        status = receipts.find_status(request.stages[name], request.run, files)
        if status.state is State.STALE:
            lines.append(f"{name}: {'; '.join(status.reasons)}")
    if lines:
        raise StaleError(describe_stale(lines))


def describe_stale(lines: Iterable[str]) -> str:
    """Returns the message about stale stages; each line names one and its reasons."""
    listed = "".join(f"\n  {line}" for line in lines)
    return (
        f"stages were made by other settings or images:{listed}\nexpected the same "
        "settings, --remake to make these and what reads them anew, or --from=RUN "
        "--output=OTHER to keep them"
    )


def run(request: Request, files: SourceFiles, log: Log) -> None:
    """Runs the stages that are to do.

    After a failure no other stage is started, and those that run are waited for.

    Raises:
        StageError: If a stage has failed; the first of them.
        StaleError: If a stage is stale and may not be made anew.
        ValueError: If another command runs stages of this run.
    """
    check_stale(request, files)
    processes = Processes(threads=request.threads)

    def end(number: int) -> str:
        processes.end(number)
        processes.wait()
        return f"interrupted; {request.resume} goes on from here"

    with (
        _locked(request.run, log) as lock,
        interruption.on_interrupt(end, seconds=_END_SECONDS),
    ):
        _run_all(
            request, lambda stage: _make(request, stage, files, processes, lock, log)
        )


def _run_all(request: Request, make: Callable[[Stage], None]) -> None:
    names = needed(request.stages, request.wanted)
    graph = {
        name: [parent for parent in request.stages[name].parents if parent in names]
        for name in names
    }
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    running: dict[concurrent.futures.Future[None], str] = {}
    failure: BaseException | None = None
    with concurrent.futures.ThreadPoolExecutor(request.jobs) as pool:
        ready: list[str] = []
        while sorter.is_active():
            ready = sorted((*ready, *sorter.get_ready()), key=names.index)
            while ready and len(running) < request.jobs and failure is None:
                name = ready.pop(0)
                running[pool.submit(make, request.stages[name])] = name
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


def _make(
    request: Request,
    stage: Stage,
    files: SourceFiles,
    processes: Processes,
    lock: int,
    log: Log,
) -> None:
    """Makes a stage unless it is done."""
    run = request.run
    status = receipts.find_status(stage, run, files)
    if status.state is State.DONE:
        return

    def run_commands(commands: Iterable[Sequence[str]]) -> None:
        for arguments in commands:
            processes.run(
                stage.name,
                arguments,
                log_path=receipts.path_of(stage.name, run, ".log"),
                show=log,
                keep_open=(lock,),
            )

    if status.state is State.STALE:
        if not request.remake:
            line = f"{stage.name}: {'; '.join(status.reasons)}"
            raise StaleError(describe_stale([line]))
        log(f"{stage.name}: made anew: {'; '.join(status.reasons)}")
        # Elsewhere first: what is left of it could not be told from this stage's.
        run_commands(copying.deletion(stage, request.shared))
        receipts.forget(stage, run)
    receipt = receipts.make(stage, run, files)
    if not receipts.fingerprint(os.path.join(run, stage.name)):
        receipts.write(receipt, stage, run)
    log(f"{stage.name}: started")
    run_commands(copying.commands(stage, run, request.shared))
    receipts.write(receipt, stage, run)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Owner:
    """The process that runs stages.

    Attributes:
        pid: Its number.
        created: When it was started, in seconds since 1970.
    """

    pid: int
    created: float


@contextlib.contextmanager
def _locked(run: str, log: Log) -> Iterator[int]:
    """Locks a run; yields the file, which processes of stages keep open.

    So the lock outlives a command that was killed until its stages have ended.

    Raises:
        ValueError: If another command runs stages of this run.
    """
    os.makedirs(os.path.join(run, receipts.STAGES), exist_ok=True)
    path = os.path.join(run, receipts.STAGES, _LOCK)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait_for_lock(descriptor, path, run, log)
        me = psutil.Process()
        owner = _Owner(pid=me.pid, created=me.create_time())
        content = typed_json.shown(dataclasses.asdict(owner)).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
        yield descriptor
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _wait_for_lock(descriptor: int, path: str, run: str, log: Log) -> None:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    if _is_alive(path):
        raise ValueError(f"another command runs stages of {run}; wait until it ends")
    log("waiting for stages of a command that was killed")
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.1)
    raise ValueError(f"stages of {run} that a killed command has started still run")


def is_running(run: str) -> bool:
    """Whether a command runs stages of a run."""
    return _is_alive(os.path.join(run, receipts.STAGES, _LOCK))


def _is_alive(path: str) -> bool:
    """Whether the command that has locked a run still runs."""
    try:
        owner = typed_json.read(path, _Owner)
        return psutil.Process(owner.pid).create_time() == owner.created
    except (OSError, ValueError, psutil.Error):
        return False
