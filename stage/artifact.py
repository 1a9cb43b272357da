"""The output directory of a stage: `config.json` is written first, `COMPLETED` last.

Stages exchange data only through such directories. `config.json` determines the content
of the other files: tables, records and checkpoints to the byte. What differs between
runs (duration, versions, command line) is in `COMPLETED`, so that the artifacts of two
runs can be compared.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import sys
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from etils import epath

from stage import artifact_kinds, bucket_lock, parts, typed_json
from stage.parts import WHOLE, Part
from stage.setting_paths import flatten
from stage.text import printable

CONFIG = "config.json"
COMPLETED = "COMPLETED"
#: Entry of a config that is the fingerprint of all images of a source and their labels.
CONTENT = "content"
#: Most settings that a message names.
_MAX_DIFFERENCES = 5
#: What trackers are told of a training, and the files of one of them.
TRACKERS, WANDB = "trackers.json", "wandb"
#: Files and folders of training that nothing reads once it is complete.
SCRATCH = ("checkpoints", "events", "profile", TRACKERS, WANDB)
LICENSES, CARD = "licenses.json", "README.md"
#: Files that describe an artifact and decide nothing: they may be written anew.
DESCRIPTIONS = (LICENSES, CARD)
_SHA_256 = re.compile("[0-9a-f]{64}")
_UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]{32}")
#: Errors of file systems that have no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
_REPORTED_PACKAGES = ("tensorflow", "keras", "apache-beam", "tensorflow-datasets")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Completed:
    """What `COMPLETED` says about the run that ended; earlier versions say less.

    Attributes:
        seconds: Wall time of the stage.
        command: Arguments of Python.
        versions: Version of Python and of each package.
        files: Size in bytes of each file of the artifact by its relative path.
    """

    seconds: typed_json.NonNegative = 0.0
    command: tuple[str, ...] = ()
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, typed_json.Count] = dataclasses.field(default_factory=dict)


@contextlib.contextmanager
def making(
    directory: epath.PathLike,
    config: dict[str, Any],
    *,
    started: float,
    may_change: str = "",
) -> Iterator[dict[str, float] | None]:
    """Locks a directory, starts or resumes it, and marks it as complete at the end.

    Yields figures of this run to be filled in, or None if the directory is complete
    already. `started` is when the stage began, as `time.monotonic` counts; for
    `may_change` see `start_or_resume`. If the block raises, the directory stays
    incomplete.

    Raises:
        ValueError: If the directory has another config, holds something else, or
            another process is writing to it.
        OSError: If the directory cannot be written.
    """
    with beginning(directory, config, may_change=may_change) as is_complete:
        if is_complete:
            yield None
            return
        figures: dict[str, float] = {}
        yield figures
        complete(directory, seconds=time.monotonic() - started, figures=figures)


@contextlib.contextmanager
def beginning(
    directory: epath.PathLike,
    config: dict[str, Any],
    *,
    may_change: str = "",
    part: Part = WHOLE,
    scratch: Collection[str] | None = None,
) -> Iterator[bool]:
    """Locks a directory for a part of the stage, and starts or resumes it.

    Yields whether the directory is complete already; if not, whoever finds the work of
    all parts done is to call `complete`. With `scratch`, the last process that leaves
    the complete directory deletes the files of these names, and what parts and killed
    processes have left.

    Raises the errors of `making`.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(directory, part))
        except parts.HeldError:
            # Whoever has completed it may still be deleting what is left.
            if part.is_whole or not is_complete(directory):
                raise
        yield start_or_resume(directory, config, may_change=may_change)
        if part.is_whole:
            _delete_scratch(directory, scratch)
    if not part.is_whole:
        with contextlib.suppress(parts.HeldError), locked(directory) as is_locked:
            if is_locked:
                _delete_scratch(directory, scratch)


def _delete_scratch(directory: epath.PathLike, names: Collection[str] | None) -> None:
    if names is not None and is_complete(directory):
        delete_unfinished(directory)
        for name in names:
            (epath.Path(directory) / name).unlink(missing_ok=True)


def start_or_resume(
    directory: epath.PathLike, config: dict[str, Any], *, may_change: str = ""
) -> bool:
    """Creates the directory, or resumes one that was begun with the same config.

    If only the setting `may_change` differs, its new value is written, which makes the
    directory incomplete again.

    Returns:
        Whether the directory is complete already, so that nothing is left to do.

    Raises:
        ValueError: If the directory has another config, holds something else, or is
            complete but lacks a file.
        OSError: If the directory cannot be written.
    """
    path = reach(directory)
    config = json.loads(json.dumps(config))
    if (path / CONFIG).exists():
        check_files(path)
        before = read_config(path)
        if before == config:
            if not is_complete(path):
                return False
            check_sizes(path)
            if "://" not in os.fspath(path):
                os.utime(path / COMPLETED)  # Make shall take it as up to date.
            return True
        if {**before, may_change: config.get(may_change)} != config:
            raise ValueError(
                f"{path} was begun with other settings: "
                f"{_describe_differences(before, config)}; delete it or choose another "
                "output"
            )
        (path / COMPLETED).unlink(missing_ok=True)
        write_json(path / CONFIG, config)
        return False
    check_startable(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        is_first = create(path / CONFIG, to_json(config))
    except OSError as error:
        raise OSError(f"cannot write to {path}: {error}") from error
    # Else another part was faster, and what it has written is compared.
    return not is_first and start_or_resume(directory, config, may_change=may_change)


def check_startable(directory: epath.PathLike) -> None:
    """Raises ValueError or OSError if a stage cannot begin or go on in a directory.

    It holds what no stage has begun, or is not complete and cannot be written to.
    """
    path = reach(directory)
    check_directory(path)
    if not is_complete(path):
        _check_writable(path)
    # In this order, as another part may begin it meanwhile.
    is_new = not path.exists() or all(map(_is_passing, path.iterdir()))
    if not (is_new or (path / CONFIG).exists()):
        raise ValueError(
            f"{path} is not empty and was not made by this command; choose another "
            "output"
        )


def check_directory(path: epath.PathLike) -> None:
    """Raises ValueError if a local path to write to is a file, or is below one."""
    if "://" in os.fspath(path):
        return
    first = _find_existing(path)
    if first is not None and not os.path.isdir(first):
        raise ValueError(
            f"{printable(os.fspath(path))}: expected a directory, got the file "
            f"{printable(str(first))}"
        )


def _check_writable(path: epath.Path) -> None:
    """Raises OSError if a local directory, to be made if need be, cannot be written."""
    if "://" in os.fspath(path):
        return
    first = _find_existing(path)
    if first is not None and not os.access(first, os.W_OK | os.X_OK):
        raise OSError(f"cannot write to {printable(os.fspath(path))}: no permission")


def _find_existing(path: epath.PathLike) -> pathlib.Path | None:
    """Returns a local path if it exists, else the nearest directory above; or None."""
    found = pathlib.Path(path)
    existing = (part for part in (found, *found.parents) if os.path.exists(part))
    return next(existing, None)


@contextlib.contextmanager
def locked(directory: epath.PathLike, part: Part = WHOLE) -> Iterator[bool]:
    """Locks a directory, made if need be, for a part while the block runs.

    A local one is locked against processes of this machine, and the lock ends with the
    process, even if it is killed; for gs:// see `bucket_lock`. Other file systems have
    no lock.

    Yields whether there is a lock.

    Raises:
        ValueError: If it is a file, or another process keeps this one out.
        OSError: If there can be no such directory.
    """
    path = os.fspath(directory)
    if "://" in path:
        in_bucket = path.startswith("gs://")
        lock = bucket_lock.locked(path, part) if in_bucket else None
        with lock or contextlib.nullcontext(False) as is_locked:
            yield is_locked
        return
    check_directory(path)
    with contextlib.ExitStack() as stack:
        try:
            with contextlib.suppress(FileExistsError):
                os.makedirs(path)
            is_locked = stack.enter_context(parts.locked(path, part))
        except (OSError, ValueError) as error:  # ValueError: a null byte.
            if isinstance(error, parts.HeldError):
                raise
            raise OSError(f"cannot write to {printable(path)}: {error}") from error
        yield is_locked


def complete(
    directory: epath.PathLike,
    *,
    seconds: float,
    figures: Mapping[str, float] = MappingProxyType({}),
    leaving_out: Collection[str] = (),
) -> bool:
    """Marks the directory as complete; nothing may be written to it afterwards.

    `seconds` is the wall time of the stage, `figures` are further ones of this run.
    Files named `leaving_out` are to be deleted afterwards. Returns whether no other
    process has done so before.
    """
    packages = {name: importlib.metadata.version(name) for name in _REPORTED_PACKAGES}
    sizes = _file_sizes(directory)
    facts = {
        "seconds": round(seconds, 1),
        **figures,
        "command": sys.orig_argv[1:],
        "versions": {"python": platform.python_version(), **packages},
        "files": {name: sizes[name] for name in sizes if name not in leaving_out},
    }
    return create(epath.Path(directory) / COMPLETED, to_json(facts))


def check_sizes(directory: epath.PathLike) -> None:
    """Raises ValueError if a file is gone or has another size than at the end.

    Takes one listing. Artifacts of earlier versions do not say their files.
    """
    expected = read_completed(directory).files
    compare_sizes(directory, expected, _file_sizes(directory) if expected else {})


def compare_sizes(
    directory: epath.PathLike, expected: Mapping[str, int], found: Mapping[str, int]
) -> None:
    """Raises ValueError if a file has another size than expected, or is not found."""
    for name, size in expected.items():
        if name not in DESCRIPTIONS and found.get(name) != size:
            got = f"{found[name]:,}" if name in found else "no file"
            raise ValueError(
                f"{os.fspath(directory)}/{name}: expected {size:,} bytes, got {got}; "
                f"restore it, or delete {COMPLETED} and what is left of the file, and "
                "run the command that made it again"
            )


def _file_sizes(directory: epath.PathLike) -> dict[str, int]:
    """Returns the size of each file by its relative path, ascending.

    Artifacts inside, which are complete on their own, are left out.
    """
    sizes = {
        name: size
        for name, size in list_files(directory).items()
        if name not in DESCRIPTIONS
    }
    inside = tuple(
        name.removesuffix(CONFIG) for name in sizes if name.endswith(f"/{CONFIG}")
    )
    return {name: size for name, size in sizes.items() if not name.startswith(inside)}


def list_files(directory: epath.PathLike) -> dict[str, int]:
    """Returns the size of each file of an artifact by its relative path, ascending.

    `COMPLETED`, and what nothing reads once it is there, are left out.
    """
    root = os.fspath(directory)
    names = ((path[len(root) :].lstrip("/"), size) for path, size in _list_files(root))
    return {name: size for name, size in sorted(names) if is_content(name)}


def is_content(name: str) -> bool:
    """Whether a relative path is that of a file which an artifact consists of."""
    return name.split("/")[0] not in (COMPLETED, *SCRATCH) and not _is_passing(name)


def _list_files(root: str) -> Iterator[tuple[str, int]]:
    if "://" in root:
        try:  # Beam's file systems list all depths at once, with the sizes.
            found = list(epath.Path(root).rglob("*"))
        except NotImplementedError:
            walked = epath.Path(root).walk()
            found = [folder / name for folder, _, names in walked for name in names]
        yield from ((str(path), int(path.stat().length)) for path in found)
        return
    for folder, _, names in os.walk(root):
        for path in (os.path.join(folder, name) for name in names):
            with contextlib.suppress(FileNotFoundError):  # A link to nothing.
                yield path, os.stat(path).st_size


def is_complete(directory: epath.PathLike) -> bool:
    """Whether the stage that makes the directory has finished."""
    return bool((epath.Path(directory) / COMPLETED).exists())


def require_complete(directory: epath.PathLike, what: str) -> epath.Path:
    """Returns the path of a directory whose stage has finished; raises otherwise."""
    path = reach(directory)
    if not path.exists():
        raise FileNotFoundError(f"{what}: no directory {str(path)!r}")
    if not is_complete(path):
        if (path / CONFIG).exists():
            raise ValueError(
                f"{what}: {path} is not complete (no {COMPLETED} in it); "
                "run the command that makes it until it finishes"
            )
        raise ValueError(artifact_kinds.explain(path, what, mark=COMPLETED))
    check_files(path)
    return path


def reach(path: epath.PathLike) -> epath.Path:
    """Returns a path whose file system answers; OSError otherwise."""
    try:
        found = epath.Path(path)
        found.exists()
    # An unknown scheme, a missing client, no access: each file system has own errors.
    except Exception as error:
        words = f"{type(error).__name__}: {typed_json.error_message(error)}"
        if isinstance(error, KeyError):  # Of `epath`, whose keys are schemes.
            words = "no file system has such paths"
        raise OSError(f"{path} cannot be reached: {words}") from error
    return found


def check_files(path: epath.PathLike) -> None:
    """Raises ValueError for what is no file, at a local path or at any depth below.

    A pipe or a device would be waited for or read without end. Links to directories
    are followed; what cannot be opened is left to whoever reads it.
    """
    pending, seen = [os.fspath(path)], set()
    if "://" in pending[0]:
        return
    _is_directory(pending[0])
    while pending:
        directory = pending.pop()
        with contextlib.suppress(OSError):
            status = os.stat(directory)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(directory) as entries:
                pending += [
                    entry.path
                    for entry in entries
                    # Most are files, which need no further call.
                    if not entry.is_file(follow_symlinks=False)
                    and _is_directory(entry.path)
                ]


def _is_directory(path: str) -> bool:
    """Whether it is one; ValueError if it is there and no regular file either."""
    if os.path.isdir(path):
        return True
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{path}: expected a regular file; delete it")
    return False


def write_json(path: epath.PathLike, content: Any) -> None:
    """Writes indented JSON atomically."""
    write_bytes(path, to_json(content))


def to_json(content: Any) -> bytes:
    """Returns the content of a file of indented JSON."""
    return (json.dumps(content, indent=2) + "\n").encode()


def write_bytes(path: epath.PathLike, content: bytes) -> None:
    """Writes a file atomically."""
    with replacing(epath.Path(path)) as temporary:
        temporary.write_bytes(content)


def create(path: epath.PathLike, content: bytes) -> bool:
    """Writes a file unless there is one; returns whether this process has written it.

    Of processes that do so at the same time, on any machines, one succeeds, where the
    file system has hard links, and in gs://. Elsewhere the last one does.
    """
    path = epath.Path(path)
    if path.exists():
        return False
    if (name := os.fspath(path)).startswith("gs://"):
        is_first = bucket_lock.create(name, content)
        if is_first is not None:
            return is_first
    if "://" in name:
        write_bytes(path, content)
        return True
    with _removing(_hidden(path)) as temporary:
        temporary.write_bytes(content)
        sync(temporary)
        is_first = _link(temporary, path)
    _sync_one(path.parent)
    return is_first


def _link(source: epath.Path, path: epath.Path) -> bool:
    """Gives a file a second name, unless that is taken; returns whether it has it."""
    try:
        os.link(source, path)
    except FileExistsError:
        # NFS says so, too, if its first answer was lost.
        return os.stat(source).st_nlink > 1
    except OSError as error:
        if error.errno not in _NO_LINKS or path.exists():
            raise
        source.replace(path)
    return True


@contextlib.contextmanager
def _removing(path: epath.Path) -> Iterator[epath.Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _hidden(path: epath.Path) -> epath.Path:
    return path.parent / f".{path.name}.{uuid.uuid4().hex}"


@contextlib.contextmanager
def replacing(path: epath.Path) -> Iterator[epath.Path]:
    """Yields a hidden path beside `path` to write to, and renames it at the end.

    If the block raises, `path` is left as it was. After a power cut, a local file has
    its final name only with its whole content.
    """
    temporary = _hidden(path)
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        _sync_one(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        # Writing to an open file does not say which; the hidden name says little.
        names = None, str(temporary)
        if isinstance(error, OSError) and error.errno and error.filename in names:
            error.filename = str(path)
        raise


def sync(path: epath.Path) -> None:
    """Returns when a file, or all of a directory, is on the disk, if it is local."""
    if "://" in str(path):  # Object stores publish whole files only.
        return
    if path.is_dir():
        for inner in path.iterdir():
            sync(inner)
    _sync_one(path)


def _sync_one(path: epath.Path) -> None:
    if "://" in str(path):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_unfinished(path: epath.PathLike) -> bool:
    """Whether the path is a hidden file that a killed `replacing` has left behind."""
    return _UNFINISHED.fullmatch(_name(path)) is not None


def _name(path: epath.PathLike) -> str:
    return os.fspath(path).rpartition("/")[2]


def _is_passing(path: epath.PathLike) -> bool:
    """Whether the path is a hidden file of a stage that runs, or was killed."""
    return (
        is_unfinished(path)
        or _name(path) == bucket_lock.NAME
        or _name(path).startswith(parts.PREFIX)
    )


def delete_unfinished(
    directory: epath.PathLike, names: Collection[str] | None = None
) -> None:
    """Deletes the hidden files that a killed `replacing` has left behind.

    With `names`, those of these files alone; otherwise all that parts have left, too.
    """
    for path in epath.Path(directory).glob(".*"):  # In a bucket, lists no others.
        found = _UNFINISHED.fullmatch(_name(path))
        is_of_parts = names is None and _name(path).startswith(parts.PREFIX)
        if is_of_parts or (found and (names is None or found[1] in names)):
            path.unlink(missing_ok=True)


def read_config(directory: epath.PathLike) -> dict[str, Any]:
    """Returns `config.json` as it stands; raises ValueError if it is no JSON object."""
    return typed_json.read(epath.Path(directory) / CONFIG, dict[str, Any])


def read_completed(directory: epath.PathLike) -> Completed:
    """Returns `COMPLETED`; raises ValueError if it is broken."""
    return typed_json.read(epath.Path(directory) / COMPLETED, Completed)


def relative_path(path: str, *, start: str) -> str:
    """Returns the path relative to a directory, or absolute if on another system."""
    if path.rpartition("://")[0] != start.rpartition("://")[0]:
        return path if "://" in path else os.path.abspath(path)
    return os.path.relpath(path, start)


def resolve_path(path: str, *, start: str) -> str:
    """Returns the path that `relative_path` has made relative to a directory."""
    if "://" in path or os.path.isabs(path):
        return path
    scheme, separator, rest = start.rpartition("://")
    return scheme + separator + os.path.normpath(os.path.join(rest, path))


def fingerprint(parts: Iterable[bytes]) -> str:
    """Returns the SHA-256 over the parts in order, as hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def config_fingerprint(config: dict[str, Any], *, leaving_out: str = "") -> str:
    """Returns the fingerprint of a config, except for the entry `leaving_out`."""
    counted = {name: value for name, value in config.items() if name != leaving_out}
    return fingerprint([json.dumps(counted, sort_keys=True).encode()])


def _describe_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    old, new = map(_values, (before, now))
    differ = [path for path in old | new if old.get(path) != new.get(path)]
    described = [
        _describe_difference(path, old.get(path, "absent"), new.get(path, "absent"))
        for path in differ[:_MAX_DIFFERENCES]
    ]
    if len(differ) > _MAX_DIFFERENCES:
        described.append(f"and {len(differ) - _MAX_DIFFERENCES} more")
    return ", ".join(described)


def _values(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the value of each setting as JSON, by its path."""
    settings = flatten(config, keep_empty=True)
    return {path: json.dumps(value) for path, value in settings}


def _describe_difference(path: str, old: str, new: str) -> str:
    parent, _, name = path.rpartition(".")
    is_hash = all(map(_SHA_256.search, (old, new)))
    if is_hash and name == CONTENT:
        return f"{parent}: images or labels have changed"
    what = parent if is_hash and name == "fingerprint" else path
    what, old, new = map(typed_json.shorten, (printable(what), old, new))
    return f"{what}: {'not the same as before' if is_hash else f'was {old}, is {new}'}"
