"""Listing of image files: all files of a folder, or those matching a pattern.

Local folders are listed with `os.scandir`, a million files in seconds; other file
systems through `epath`, where more of them can be registered.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import TypedDict

from etils import epath

from classifier.data import opening
from classifier.data.examples import File
from stage import artifact

#: Number of a folder's files in one shard.
FOLDER_SHARD_SIZE = 1000
_FIRST_WILDCARD = re.compile(r"[^/]*[*?\[]")


class FileState(TypedDict, total=False):
    """Size and modification time of a file, as the fields of a `File`."""

    size: int
    mtime_ns: int


def open_path(path: str) -> epath.Path:
    """Returns a path; raises ValueError if its file system is not registered."""
    try:
        return epath.Path(path)
    except KeyError as error:
        raise ValueError(f"{path}: no file system {error} is known here") from error


def is_folder(path: str) -> bool:
    """Returns whether the path is an existing folder."""
    return bool(open_path(path).is_dir())


def list_folder(root: str) -> list[File]:
    """Returns all files of a tree except hidden ones, ordered by name.

    Each is one image; names are relative to the root. Pipes, sockets and devices are no
    files, nor are links to them. Raises OSError if a folder cannot be listed.
    """
    walk = _walk_remote if _is_remote(root) else _walk_local
    return sorted(walk(root), key=lambda file: file.name)


def list_matches(pattern: str) -> list[File]:
    """Returns the files that a pattern matches, ordered by path.

    Names are relative to the deepest folder that contains all matches. Raises
    ValueError for `**`, which would list all files of a tree.
    """
    if "**" in pattern:
        raise ValueError(f"expected a pattern without **, got {pattern!r}")
    match = _FIRST_WILDCARD.search(pattern)
    start = match.start() if match else pattern.rfind("/") + 1
    folder = open_path(pattern[:start] or ".")
    listed = sorted(folder.glob(pattern[start:]), key=str)
    found = {str(path): _state(path) for path in listed}
    states = {path: state for path, state in found.items() if state is not None}
    if not states:
        return []
    paths = list(states)
    root = paths[0].rpartition("/")[0]
    while root and not paths[-1].startswith(root + "/"):
        root = root.rpartition("/")[0]
    return [
        File(path=path, name=path.removeprefix(root).lstrip("/"), **state)
        for path, state in states.items()
    ]


def fingerprint(numbered: Iterable[tuple[int, File]]) -> str:
    """Returns the fingerprint of the files of a source, each with its shard's index."""
    return artifact.fingerprint(
        os.fsencode(f"{index} {file.name} {file.skip} {file.take}") + file.kept
        for index, file in numbered
    )


def fingerprint_states(files: Iterable[File]) -> str:
    """Returns the fingerprint of names, sizes and times of files."""
    return artifact.fingerprint(
        os.fsencode(f"{file.name}\0{file.size} {file.mtime_ns}") for file in files
    )


def find_state(path: str) -> FileState:
    """Returns size and time of a file, unless they would cost a request."""
    return {} if _is_remote(path) else _local_state(path) or {}


def _is_remote(path: str) -> bool:
    return "://" in path


def _walk_local(root: str) -> Iterator[File]:
    """Yields the files of a tree; enters each real folder once.

    Of several paths to a folder the one with the fewest links counts, then the
    shortest, then the first by name.
    """
    folders = [(0, 0, "", root)]
    entered = set()
    while folders:
        links, depth, prefix, folder = heapq.heappop(folders)
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) in entered:
            continue
        entered.add((found.st_dev, found.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = prefix + entry.name
                if _is_folder(entry):
                    links_to = links + entry.is_symlink()
                    heapq.heappush(
                        folders, (links_to, depth + 1, name + "/", entry.path)
                    )
                elif (state := _local_state(entry.path)) is not None:
                    yield File(path=entry.path, name=name, take=1, **state)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # A link to itself; reading it will report the error.


def _walk_remote(root: str) -> Iterator[File]:
    top = open_path(root)
    if hasattr(top, "size"):  # Beam's file systems.
        paths = top.rglob("*")
    else:  # TensorFlow's, in training.
        paths = (folder / name for folder, _, names in top.walk() for name in names)
    for path in paths:
        name = str(path).removeprefix(str(top)).lstrip("/")
        if not any(part.startswith(".") for part in name.split("/")):
            yield File(path=str(path), name=name, take=1, **(_state(path) or {}))


def _state(path: epath.Path) -> FileState | None:
    """Returns size and time of a listed file as `find_state`.

    Returns None for what is not a file: reading a pipe or a device might have no end.
    """
    if _is_remote(str(path)):
        return FileState(
            size=getattr(path, "size", -1), mtime_ns=getattr(path, "mtime_ns", -1)
        )
    return _local_state(str(path))


def _local_state(path: str) -> FileState | None:
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return {}  # A broken link or path; reading it will report the error.
    if not stat.S_ISREG(state.st_mode):
        return None
    return {"size": state.st_size, "mtime_ns": opening.modified_ns(state)}
