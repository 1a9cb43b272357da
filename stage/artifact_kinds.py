"""What a path is if it is not the directory of a complete artifact of a kind."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Iterator, Sequence

from etils import epath

from stage import shard_list
from stage.text import printable

#: File of a dataset's directory, as TFDS names it.
DATASET_INFO = "dataset_info.json"
_CLASSIFIER = ("classifier", "classifier.json")
_DATASET = ("dataset", DATASET_INFO)
#: Kind of an artifact, and files of which only this kind holds one, by what messages
#: call it.
_KINDS = {
    **dict.fromkeys(("classifier", "student", "init_from", "features"), _CLASSIFIER),
    "predictions": ("predictions", shard_list.NAME, shard_list.FORMER_NAME),
    "selection": ("selection", "selection.json"),
    **dict.fromkeys(("dataset", "pseudo_labeled"), _DATASET),
    "calibration": ("calibration", "calibration.json"),
}
#: Most directories that are named, and that are looked into for them.
_MAX_NAMED, _MAX_VISITED = 5, 1000


def explain(path: epath.Path, what: str, *, mark: str) -> str:
    """Returns why a path is no complete artifact, and which ones nearby are.

    Args:
        path: A file, or a directory that no stage has begun.
        what: Kind of the artifact, or the name of the flag for it.
        mark: Name of the file that every complete artifact has.
    """
    name, (kind, *holds) = printable(str(path)), _KINDS.get(what, ("artifact", mark))
    is_local = "://" not in os.fspath(path)
    if is_local and os.path.isfile(path):
        above = [str(parent) for parent in itertools.islice(path.parents, 3)]
        found = [parent for parent in above if _is_kind(parent, mark, holds)]
        nearest = f", {printable(found[0])}" if found else ""
        return f"{what}: {name} is a file; expected the directory of a {kind}{nearest}"
    problem = f"{what}: {name} is no {kind} (no {mark} in it)"
    below = list(_find(str(path), mark, holds)) if is_local else []
    if not below:
        return f"{problem}; expected the directory that a command has made"
    named = ", ".join(map(printable, below[:_MAX_NAMED]))
    more = " and others" if len(below) > _MAX_NAMED else ""
    return f"{problem}; those below it are {named}{more}"


def _find(root: str, mark: str, holds: Sequence[str]) -> Iterator[str]:
    """Yields the directories of a kind below another one, nearest first.

    What is inside such a directory is part of it.
    """
    pending = collections.deque([root])
    for _ in range(_MAX_VISITED):
        if not pending:
            return
        try:
            with os.scandir(pending.popleft()) as entries:
                inner = sorted(entry.path for entry in entries if _is_folder(entry))
        except OSError:
            continue
        for path in inner:
            if _is_kind(path, mark, holds):
                yield path
            else:
                pending.append(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)


def _is_kind(directory: str, mark: str, holds: Sequence[str]) -> bool:
    """Whether a directory has the mark and one of the files of a kind."""

    def has(name: str) -> bool:
        return os.path.exists(os.path.join(directory, name))

    return has(mark) and any(map(has, holds))
