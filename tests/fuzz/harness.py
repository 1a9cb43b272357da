"""Runs a reader on many damaged inputs, each within limits of time and memory.

An input is a function of target, seed and number, so that any can be made again.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import faulthandler
import multiprocessing
import os
import pathlib
import re
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

#: Most seconds and resident bytes that reading one input may take; inputs are small.
SECONDS, MEMORY = 10.0, 2**29
#: Bytes of addresses; allocators reserve more than they use.
_ADDRESSES = 2**32
#: Seconds after which a process is ended that does not look at signals.
_LAST_SECONDS = 60.0
#: Inputs after which a process reports; one that ends takes the last ones with it.
_BATCH = 200
_CONTEXT = multiprocessing.get_context("fork")
#: Parts of a message in which faults of one kind differ.
_VARIABLE = re.compile(r"""b?'.*?'|b?".*?"|\[.*?\]|0x\w+|[\d,.]*\d""")
_ROOT = str(pathlib.Path(__file__).parents[2])


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader and what must hold whatever it reads.

    Attributes:
        name: Name for the command line.
        seeds: Returns undamaged inputs, which must be read.
        change: Returns a damaged input, made of the undamaged ones.
        check: Reads an input; raises AssertionError if what it returns is wrong.
        path: File whose damage is refused by one line with its name; empty if all
            damage must end as rows.
        quick: Number of inputs to try in the fast tests.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    change: Callable[[Random, Sequence[bytes]], bytes]
    check: Callable[[bytes], Any]
    path: str = ""
    quick: int = 50

    def input(self, seed: int, number: int) -> bytes:
        """Returns the input of a number; the first ones are undamaged."""
        seeds = self.seeds()
        if number < len(seeds):
            return seeds[number]
        return self.change(Random(f"{self.name} {seed} {number}"), seeds)


@dataclasses.dataclass(frozen=True)
class Fault:
    """An input that a reader does not stand.

    Attributes:
        number: Number of the first such input.
        kind: Same for inputs with the same cause.
        text: Description.
    """

    number: int
    kind: str
    text: str


@dataclasses.dataclass
class Result:
    """Outcome of the inputs of a target.

    Attributes:
        read: Number of inputs that were read.
        refused: Number of inputs that were refused by one line.
        faults: First fault of each kind.
        counts: Number of inputs of each kind of fault.
    """

    read: int = 0
    refused: int = 0
    faults: dict[str, Fault] = dataclasses.field(default_factory=dict)
    counts: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )

    @property
    def tried(self) -> int:
        """Number of inputs."""
        return self.read + self.refused + sum(self.counts.values())

    def add(self, fault: Fault) -> None:
        """Counts a fault."""
        self.faults.setdefault(fault.kind, fault)
        self.counts[fault.kind] += 1

    def merge(self, part: Result) -> None:
        """Adds the outcome of further inputs."""
        self.read += part.read
        self.refused += part.refused
        self.counts.update(part.counts)
        self.faults = part.faults | self.faults


class TooSlowError(BaseException):
    """An input took too long; no `except Exception` stops it."""


class TooMuchError(BaseException):
    """An input took too much memory."""


def run(
    target: Target,
    seed: int,
    *,
    seconds: float = float("inf"),
    numbers: Iterator[int] | range = range(10**12),
    begin: Callable[[int], None] = lambda number: None,
) -> Result:
    """Tries inputs until the time or the numbers end; calls `begin` before each."""
    result = Result()
    end = time.monotonic() + seconds
    with limits():
        for number in numbers:
            if time.monotonic() > end:
                break
            begin(number)
            try_input(target, seed, number, result)
    return result


def try_input(target: Target, seed: int, number: int, result: Result) -> None:
    """Tries one input and counts its outcome."""
    try:
        content = target.input(seed, number)
        peak = _peak_memory()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            target.check(content)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            if _peak_memory() > peak + MEMORY:
                raise TooMuchError(f"more than {MEMORY:,} bytes")
        result.read += 1
    except (Exception, TooSlowError, TooMuchError) as error:
        problem = problem_of(error, target)
        if not problem and number < len(target.seeds()):
            problem = f"undamaged input refused: {error}"
        if problem:
            text = "".join(traceback.format_exception(error))[-3_000:]
            result.add(Fault(number, f"{problem} {_cause(error)}", text))
        else:
            result.refused += 1


def _peak_memory() -> int:
    # Linux counts in KiB.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def problem_of(error: BaseException, target: Target) -> str:
    """Returns what is wrong with an exception, empty if it is a proper refusal."""
    if not target.path or not isinstance(error, ValueError | OSError):
        return f"{type(error).__name__}: {_VARIABLE.sub('#', str(error)[:200])}"
    path, message = pathlib.PurePath(target.path), str(error)
    if len(message.splitlines()) != 1 or len(message) > 5_000 or "\0" in message:
        return "message of several lines, control characters or endless"
    if not any(name in message for name in path.parts[-3:]):
        return f"message without {path.name}"
    return ""


def _cause(error: BaseException) -> str:
    """Returns the last places of the project that an exception went through."""
    frames = [
        f"{frame.filename.removeprefix(_ROOT + '/')}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(_ROOT) and ".venv" not in frame.filename
    ]
    return " < ".join(reversed(frames[-2:]))


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Limits this process's memory and the time between two alarms."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"no end after {SECONDS} s")

    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    allowed = pages * resource.getpagesize() + _ADDRESSES
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


def run_alone(action: Callable[[], None]) -> None:
    """Runs an action in a process of its own, whose threads end with it."""
    process = _CONTEXT.Process(target=action)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"the process ended with {process.exitcode}")


def run_guarded(target: Target, seed: int, seconds: float) -> Result:
    """Does the same in other processes; goes on behind an input that ends one."""
    total, first = Result(), 0
    undamaged = target.seeds()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        current = _CONTEXT.RawValue("q", -1)
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        with tempfile.TemporaryFile() as errors:
            arguments = (target, seed, left, first, current, sender, errors.fileno())
            process = _CONTEXT.Process(target=_work, args=arguments)
            process.start()
            sender.close()
            with contextlib.suppress(EOFError):
                while True:
                    total.merge(receiver.recv())
            process.join()
            if process.exitcode == 0:
                break
            errors.seek(0)
            text = errors.read().decode(errors="replace")
        if target.path:  # The process has left it damaged.
            pathlib.Path(target.path).write_bytes(undamaged[0])
        kind = f"process ended with {process.exitcode}"
        total.add(Fault(current.value, kind, text[-3_000:]))
        first = current.value + 1
    return total


def _work(
    target: Target,
    seed: int,
    seconds: float,
    first: int,
    current: Any,
    sender: Any,
    errors: int,
) -> None:
    os.dup2(errors, 2)
    end = time.monotonic() + seconds

    def begin(number: int) -> None:
        current.value = number
        faulthandler.dump_traceback_later(_LAST_SECONDS, exit=True)

    while (left := end - time.monotonic()) > 0:
        numbers = range(first, first + _BATCH)
        sender.send(run(target, seed, seconds=left, numbers=numbers, begin=begin))
        first += _BATCH
    faulthandler.cancel_dump_traceback_later()
