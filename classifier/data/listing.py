"""Listing of image files: all files of a folder, or those matching a pattern.

Local folders are listed with `os.scandir`, a million files in seconds; other file
systems through `epath`, where more of them can be registered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from etils import epath

from classifier.data.examples import File

_FIRST_WILDCARD = re.compile(r"[^/]*[*?\[]")


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

    Each is one image; names are relative to the root. Raises OSError if a folder cannot
    be listed.
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
    paths = sorted(folder.glob(pattern[start:]), key=str)
    if not _is_remote(pattern):
        paths = [path for path in paths if not os.path.isdir(path)]
    if not paths:
        return []
    root = str(paths[0]).rpartition("/")[0]
    while root and not str(paths[-1]).startswith(root + "/"):
        root = root.rpartition("/")[0]
    return [
        File(
            path=str(path),
            name=str(path).removeprefix(root).lstrip("/"),
            size=_size(path),
        )
        for path in paths
    ]


def _is_remote(path: str) -> bool:
    return "://" in path


def _walk_local(root: str) -> Iterator[File]:
    folders = [(root, "")]
    while folders:
        folder, prefix = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = prefix + entry.name
                if _is_folder(entry):
                    if not (entry.is_symlink() and _is_cycle(folder, entry.path)):
                        folders.append((entry.path, name + "/"))
                # Broken links are listed and fail when read. Pipes are skipped:
                # reading one would block.
                elif entry.is_symlink() or entry.is_file():
                    size = _local_size(entry)
                    yield File(path=entry.path, name=name, take=1, size=size)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # A link to itself; reading it will report the error.


def _is_cycle(folder: str, link: str) -> bool:
    """Returns whether a link in the folder leads to the folder or one above it."""
    target = os.path.join(os.path.realpath(link), "")
    return os.path.join(os.path.realpath(folder), "").startswith(target)


def _walk_remote(root: str) -> Iterator[File]:
    top = open_path(root)
    if hasattr(top, "size"):  # Beam's file systems.
        paths = top.rglob("*")
    else:  # TensorFlow's, in training.
        paths = (folder / name for folder, _, names in top.walk() for name in names)
    for path in paths:
        name = str(path).removeprefix(str(top)).lstrip("/")
        if not any(part.startswith(".") for part in name.split("/")):
            yield File(path=str(path), name=name, take=1, size=_size(path))


def _size(path: epath.Path) -> int:
    """Returns the size of a listed file in bytes, -1 if that would cost a request."""
    if _is_remote(str(path)):
        return int(getattr(path, "size", -1))
    return _local_size(path)


def _local_size(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # A broken link; reading it will report the error.
