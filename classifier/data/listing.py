"""Which files a place holds: a folder's, or those a pattern matches.

Local folders are listed with the system's own calls, a million files in seconds;
everything else through `epath`, where file systems of other kinds can be registered.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator

from etils import epath

_FIRST_WILDCARD = re.compile(r"[^/]*[*?\[]")


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A file that is there.

    Attributes:
        path: Where it is.
        name: The path in what was listed, with slashes.
        size: In bytes, -1 where it is not known.
    """

    path: str
    name: str
    size: int


def is_remote(path: str) -> bool:
    """Whether a path is of another file system than this machine's."""
    return "://" in path


def open_path(path: str) -> epath.Path:
    """Returns a path of any file system that is known.

    Raises:
        ValueError: If its file system is not.
    """
    try:
        return epath.Path(path)
    except KeyError as error:
        raise ValueError(f"{path}: no file system {error} is known here") from error


def is_folder(path: str) -> bool:
    """Whether there is a folder."""
    return bool(open_path(path).is_dir())


def list_folder(root: str) -> list[Found]:
    """Returns all files of a tree but hidden ones, ordered by name.

    Raises:
        OSError: If a folder in it cannot be listed.
    """
    walk = _walk_remote if is_remote(root) else _walk_local
    return sorted(walk(root), key=lambda found: found.name)


def list_matches(pattern: str) -> list[Found]:
    """Returns the files that a pattern matches, ordered by path.

    Names are those below the deepest folder that holds them all.

    Raises:
        ValueError: If the pattern is none: `**` would list a tree, `folder:` does.
        OSError: If a folder cannot be listed.
    """
    if "**" in pattern:
        raise ValueError(f"expected a pattern without **, got {pattern!r}")
    match = _FIRST_WILDCARD.search(pattern)
    start = match.start() if match else pattern.rfind("/") + 1
    folder = open_path(pattern[:start] or ".")
    paths = sorted(folder.glob(pattern[start:]), key=str)
    if not is_remote(pattern):
        paths = [path for path in paths if not os.path.isdir(path)]
    if not paths:
        return []
    root = str(paths[0]).rpartition("/")[0]
    while root and not str(paths[-1]).startswith(root + "/"):
        root = root.rpartition("/")[0]
    return [
        Found(str(path), str(path).removeprefix(root).lstrip("/"), _size(path))
        for path in paths
    ]


def _walk_local(root: str) -> Iterator[Found]:
    folders = [(root, "")]
    while folders:
        folder, prefix = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = prefix + entry.name
                if _is_folder(entry):
                    if not (entry.is_symlink() and _leads_back(folder, entry.path)):
                        folders.append((entry.path, name + "/"))
                # In this order; pipes, which are neither, would wait forever.
                elif entry.is_symlink() or entry.is_file():
                    yield Found(entry.path, name, _entry_size(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # A link that leads to itself; who reads it says so.


def _walk_remote(root: str) -> Iterator[Found]:
    top = open_path(root)
    for path in _below(top):
        name = str(path).removeprefix(str(top)).lstrip("/")
        if not any(part.startswith(".") for part in name.split("/")):
            yield Found(str(path), name, _size(path))


def _below(top: epath.Path) -> Iterator[epath.Path]:
    if hasattr(top, "size"):
        yield from top.rglob("*")
    else:  # TensorFlow's file systems, in training.
        for folder, _, names in top.walk():
            for name in names:
                yield folder / name


def _size(path: epath.Path) -> int:
    """Returns the bytes of a listed file, where to know them costs no request."""
    if is_remote(str(path)):
        return int(getattr(path, "size", -1))
    try:
        return os.stat(path).st_size
    except OSError:
        return -1  # What is wrong with it, its reading tells.


def _leads_back(folder: str, link: str) -> bool:
    """Whether a link leads to a folder that it is in: following it would not end."""
    target = os.path.join(os.path.realpath(link), "")
    return os.path.join(os.path.realpath(folder), "").startswith(target)


def _entry_size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:
        return -1  # A link to nothing.
