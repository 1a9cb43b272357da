"""The files of a source of images, compared without opening them.

Sources that the run makes itself, those on other file systems, where listing costs
requests, and those that are gone are not compared: the stages that read them do it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from classifier.data import listing
from classifier.data.examples import File
from stage import artifact
from stage.system import is_within

#: Kinds of sources that name files by a pattern.
_PATTERNS = ("tfrecord", "webdataset", "parquet", "csv")
_SPLIT = re.compile(":[^/:]*$")


def fingerprint(spec: str, *, data_dir: str, run: str) -> str | None:
    """Returns a fingerprint of names, sizes and times of the files of a source.

    None if they cannot be compared, "" if there are none.
    """
    kind, _, path = spec.partition(":")
    if kind == "hf":
        return None
    if kind == "tfds":
        path = _SPLIT.sub("", path)
        if "/" not in path or not os.path.isdir(path):
            path = os.path.join(data_dir, path)
    if "://" in path or is_within(path, run):
        return None
    try:
        files = _list(kind, path)
    except (OSError, ValueError):
        # TFDS also looks elsewhere.
        return None if kind == "tfds" else ""
    return _digest(files) if files else ""


def _list(kind: str, path: str) -> Sequence[File]:
    if kind in _PATTERNS:
        return listing.list_matches(path)
    return listing.list_folder(path)


def _digest(files: Sequence[File]) -> str:
    return artifact.fingerprint(
        os.fsencode(f"{file.name}\0{file.size} {file.mtime_ns}") for file in files
    )
