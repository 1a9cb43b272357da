"""What a stage was asked for, kept in RUN/stages to tell when it is asked anew.

A stage is done if its directory is complete and was made by what is asked for now: the
same flags, the same files of images, and the same content of the directories it reads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import glob
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from classifier.export.facts import CLASSIFIER
from stage import artifact, typed_json
from stage.flags import SOURCE_KINDS
from workflow.chain import source_files
from workflow.chain.stage import Argument, Kind, Stage
from workflow.run_file.reading import PathKind, absolute

#: Directory of receipts and logs in that of a run.
STAGES = "stages"
#: Files of an artifact that tell its content.
_IDENTIFYING = (artifact.CONFIG, CLASSIFIER)
#: End of the name of a directory that is being deleted.
_REMOVED = ".removed"
#: Most characters of a value that a reason repeats.
_MAX_SHOWN = 60


@dataclasses.dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a stage was asked for.

    Attributes:
        module: Command.
        settings: Values of each flag that decides, in order.
        files: Fingerprint of the files of each source, by flag and source; "" if they
            were not compared.
        parents: Fingerprint of each directory that it reads, by the name of its stage.
        started: When it was started, in seconds since 1970; not compared.
    """

    module: str
    settings: dict[str, tuple[str, ...]]
    files: dict[str, str]
    parents: dict[str, str]
    started: float = 0.0


class State(enum.Enum):
    """Whether there is something to do for a stage."""

    DONE = "done"
    STALE = "stale"
    TODO = "to do"


@dataclasses.dataclass(frozen=True)
class Status:
    """State of a stage, and why it is stale."""

    state: State
    reasons: tuple[str, ...] = ()


class SourceFiles:
    """Fingerprints of sources, each of which is listed once."""

    def __init__(self, *, data_dir: str, run: str, columns: tuple[str, ...] = ()):
        self._data_dir, self._run, self._columns = data_dir, run, columns
        self._found: dict[str, str | None] = {}

    def __call__(self, spec: str) -> str | None:
        """Returns the fingerprint, see `source_files.fingerprint`."""
        if spec not in self._found:
            self._found[spec] = source_files.fingerprint(
                spec, data_dir=self._data_dir, run=self._run, columns=self._columns
            )
        return self._found[spec]


def make(stage: Stage, run: str, files: SourceFiles) -> Receipt:
    """Returns the receipt for what is asked of a stage now."""
    arguments = stage.resolve(run)
    return Receipt(
        module=stage.module,
        settings=_group(arguments),
        files={
            f"{a.name} {_portable(a.value, run)}": files(a.value) or ""
            for a in arguments
            if a.kind is Kind.SOURCE
        },
        parents={
            name: fingerprint(os.path.join(run, name))
            for name in dict.fromkeys(
                (*stage.after, *(a.value for a in arguments if a.is_stage))
            )
        },
        started=time.time(),
    )


def _portable(spec: str, run: str) -> str:
    """Returns a source by its path from the root on, or from the run on in it."""
    spec = absolute(spec, PathKind.SOURCE)
    form, separator, path = spec.partition(":")
    if form not in SOURCE_KINDS:
        form, separator, path = "", "", spec
    root = os.path.abspath(run)
    found = next((r for r in (root, glob.escape(root)) if path.startswith(f"{r}/")), "")
    return f"{form}{separator}RUN{path[len(found) :]}" if found else spec


def _group(arguments: tuple[Argument, ...]) -> dict[str, tuple[str, ...]]:
    grouped: dict[str, tuple[str, ...]] = {}
    for argument in arguments:
        if argument.kind is Kind.SETTING:
            name, value = argument.name, argument.value
            if not name:
                name, _, value = argument.value.lstrip("-").partition("=")
            grouped[name] = (*grouped.get(name, ()), value)
    return grouped


def fingerprint(directory: str) -> str:
    """Returns a fingerprint of what a complete artifact holds; "" if it is not."""
    path = epath.Path(directory)
    if not artifact.is_complete(path):
        return ""
    contents = [
        (path / name).read_bytes() for name in _IDENTIFYING if (path / name).exists()
    ]
    return artifact.fingerprint(contents)


def find_seconds(stage: Stage, run: str) -> float | None:
    """Returns the seconds that a complete stage took; None if it is not complete."""
    directory = os.path.join(run, stage.name)
    if not artifact.is_complete(directory):
        return None
    return artifact.read_completed(directory).seconds


def find_status(stage: Stage, run: str, files: SourceFiles) -> Status:
    """Returns whether a stage is done, by the directories that are there now.

    A parent that is not complete is taken to become what it was.
    """
    return compare(stage, run, make(stage, run, files))


def compare(stage: Stage, run: str, asked: Receipt) -> Status:
    """Returns whether a run has a stage that was asked for as `asked` says."""
    directory = os.path.join(run, stage.name)
    before = read(stage, run)
    # What workers elsewhere have begun is not here before it is complete.
    is_begun = stage.is_shared or os.path.exists(f"{directory}/{artifact.CONFIG}")
    if before is None or not is_begun:
        # The command compares settings itself with those in its directory.
        return Status(State.TODO)
    reasons = tuple(_differences(before, asked))
    if reasons:
        return Status(State.STALE, reasons)
    return Status(State.DONE if artifact.is_complete(directory) else State.TODO)


def _differences(before: Receipt, now: Receipt) -> Iterator[str]:
    """Yields a reason for each difference that makes a stage stale."""
    if before.module != now.module:
        yield f"was made by {before.module}, now by {now.module}"
        return
    for name in sorted(before.settings.keys() | now.settings.keys()):
        old, new = before.settings.get(name), now.settings.get(name)
        # A run file that is written anew has the settings of a recipe in another order.
        if old != new and (name != "set" or _by_path(old) != _by_path(new)):
            yield f"--{name} was {_shown(old)}, is {_shown(new)}"
    yield from _source_differences(before.files, now.files)
    for name, new_content in now.parents.items():
        old_content = before.parents.get(name)
        if old_content is None:
            yield f"{name} is read now, and was not"
        elif new_content and old_content != new_content:
            yield f"{name} has changed"
    for name in before.parents.keys() - now.parents.keys():
        yield f"{name} was read, and is not now"


def _by_path(assignments: Iterable[str] | None) -> list[str]:
    """Returns settings of a recipe by their path; those of one path in their order."""
    return sorted(assignments or (), key=lambda text: text.partition("=")[0])


def _source_differences(
    before: Mapping[str, str], now: Mapping[str, str]
) -> Iterator[str]:
    """Yields a reason for each source that has other files than before.

    A source of the same flag and the same files may have moved.
    """
    old, new = _by_flag(before), _by_flag(now)
    for flag in sorted(old.keys() | new.keys()):
        olds, news = old.get(flag, []), new.get(flag, [])
        if len(olds) != len(news):
            yield f"--{flag} was {_shown([s for s, _ in olds])}, is " + _shown(
                [s for s, _ in news]
            )
            continue
        for (old_spec, old_files), (new_spec, new_files) in zip(
            olds, news, strict=True
        ):
            is_known = bool(old_files and new_files)
            if is_known and old_files != new_files:
                yield f"files of --{flag}={new_spec} have other names, sizes or times"
            elif not is_known and old_spec != new_spec:
                yield f"--{flag} was {old_spec}, is {new_spec}"


def _by_flag(files: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    grouped: dict[str, list[tuple[str, str]]] = {}
    for key, digest in files.items():
        flag, _, spec = key.partition(" ")
        grouped.setdefault(flag, []).append((spec, digest))
    return grouped


def _shown(values: Any) -> str:
    if not values:
        return "not given"
    return typed_json.shorten(" ".join(values) or "given", _MAX_SHOWN)


def path_of(stage: str, run: str, suffix: str) -> str:
    """Returns the path of a stage's receipt (`.json`) or log (`.log`)."""
    return os.path.join(run, STAGES, stage.replace("/", ".") + suffix)


def read(stage: Stage, run: str) -> Receipt | None:
    """Returns the receipt of a stage; None without one, or with a broken one."""
    try:
        return typed_json.read(path_of(stage.name, run, ".json"), Receipt)
    except (OSError, ValueError):
        return None


def write(receipt: Receipt, stage: Stage, run: str) -> None:
    """Writes the receipt of a stage."""
    os.makedirs(os.path.join(run, STAGES), exist_ok=True)
    path = path_of(stage.name, run, ".json")
    artifact.write_json(path, dataclasses.asdict(receipt))


def forget(stage: Stage, run: str) -> None:
    """Deletes a stage's directory and receipt, so that it is to do.

    The directory is renamed before: what is left of it if this process is killed is no
    artifact that a command would refuse to go on with.
    """
    sweep(stage, run)
    with contextlib.suppress(FileNotFoundError):
        os.rename(os.path.join(run, stage.name), path_of(stage.name, run, _REMOVED))
    epath.Path(path_of(stage.name, run, ".json")).unlink(missing_ok=True)
    sweep(stage, run)


def sweep(stage: Stage, run: str) -> None:
    """Deletes what is left of a directory that `forget` has renamed."""
    shutil.rmtree(path_of(stage.name, run, _REMOVED), ignore_errors=True)
