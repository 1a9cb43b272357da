"""Listing of image files: all files of a folder, or those matching a pattern.

Local folders are listed with `os.scandir`, a million files in seconds; other file
systems through `epath`, where more of them can be registered.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator

from etils import epath

_FIRST_WILDCARD = re.compile(r"[^/]*[*?\[]")


@dataclasses.dataclass(frozen=True, slots=True)
class ListedFile:
    """A listed file.

    Attributes:
        path: Location of the file.
        name: Path relative to the listed folder, with slashes.
        size: Bytes, -1 if unknown.
    """

    path: str
    name: str
    size: int


def open_path(path: str) -> epath.Path:
    """Returns a path on any registered file system.

    Raises:
        ValueError: If the file system is unknown.
    """
    try:
        return epath.Path(path)
    except KeyError as error:
        raise ValueError(f"{path}: no file system {error} is known here") from error


def is_folder(path: str) -> bool:
    """Returns whether the path is an existing folder."""
    return bool(open_path(path).is_dir())


def list_folder(root: str) -> list[ListedFile]:
    """Returns all files of a tree except hidden ones, ordered by name.

    Raises:
        OSError: If a folder cannot be listed.
    """
    walk = _walk_remote if _is_remote(root) else _walk_local
    return sorted(walk(root), key=lambda found: found.name)


def list_matches(pattern: str) -> list[ListedFile]:
    """Returns the files that a pattern matches, ordered by path.

    Names are relative to the deepest folder that contains all matches.

    Raises:
        ValueError: If the pattern contains `**`, which would list a whole tree.
        OSError: If a folder cannot be listed.
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
        ListedFile(str(path), str(path).removeprefix(root).lstrip("/"), _size(path))
        for path in paths
    ]


def _is_remote(path: str) -> bool:
    return "://" in path


def _walk_local(root: str) -> Iterator[ListedFile]:
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
                    yield ListedFile(entry.path, name, _local_size(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # A link to itself; reading it will report the error.


def _is_cycle(folder: str, link: str) -> bool:
    """Returns whether a link in the folder leads to the folder or one above it."""
    target = os.path.join(os.path.realpath(link), "")
    return os.path.join(os.path.realpath(folder), "").startswith(target)


def _walk_remote(root: str) -> Iterator[ListedFile]:
    top = open_path(root)
    for path in _remote_files(top):
        name = str(path).removeprefix(str(top)).lstrip("/")
        if not any(part.startswith(".") for part in name.split("/")):
            yield ListedFile(str(path), name, _size(path))


def _remote_files(top: epath.Path) -> Iterator[epath.Path]:
    if hasattr(top, "size"):  # Beam's file systems.
        yield from top.rglob("*")
    else:  # TensorFlow's, in training.
        for folder, _, names in top.walk():
            for name in names:
                yield folder / name


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
