"""The form of a source of images, and whether there are the files that it names.

What is wrong is told alike before a run and by the command that reads the source.
Imports no TensorFlow.
"""

from __future__ import annotations

import os

from classifier.data import listing
from classifier.data.examples import File
from stage.flags import SOURCES, split_source

#: Forms of plain paths, by their ending.
_FORM_OF_ENDING = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".tfrecord": "tfrecord",
    ".tar": "webdataset",
}


def find_form(spec: str) -> str:
    """Returns a source with its form in front; a plain path gets that of what it names.

    A directory is a folder, and other paths and patterns have a form by their ending;
    that of an address counts first, so that no request is needed. Raises ValueError for
    what is neither.
    """
    form, rest = split_source(spec)
    if form and rest:
        return spec
    if spec and not form:
        form = _FORM_OF_ENDING.get(os.path.splitext(spec)[1].lower(), "")
        if not (form and "://" in spec) and listing.is_folder(spec):
            _check_not_prepared(spec)
            return f"folder:{spec}"
        if form:
            return f"{form}:{spec}"
        raise ValueError(f"{spec}: {_why_none(spec)}")
    raise ValueError(f"expected a source as {SOURCES}, got {spec!r}")


def check_files(spec: str) -> None:
    """Raises ValueError or OSError if a source names no files; it may be remote.

    TFDS and the Hugging Face Hub are not asked.
    """
    form, _, path = find_form(spec).partition(":")
    if form == "folder":
        list_folder(spec, path)
    elif form == "csv":
        check_list(spec, path)
    elif form not in ("tfds", "hf"):
        list_matches(spec, path)


def list_folder(spec: str, root: str) -> list[File]:
    """Returns the files of a folder; raises ValueError or OSError if it has none."""
    if not listing.is_folder(root):
        what = " but a file" if listing.open_path(root).exists() else ""
        raise FileNotFoundError(f"{spec}: no folder {root!r}{what}")
    files = listing.list_folder(root)
    if not files:
        raise ValueError(
            f"{spec}: the folder {root!r} is there and holds no images; each file in "
            "it or in a folder below would be one, whatever its name, except for "
            "hidden files (.NAME)"
        )
    return files


def list_matches(spec: str, pattern: str) -> list[File]:
    """Returns the files that a pattern matches; raises FileNotFoundError for none."""
    files = listing.list_matches(pattern)
    if not files:
        is_folder = listing.is_folder(pattern)
        hint = "; it is a folder, expected a pattern of files" if is_folder else ""
        raise FileNotFoundError(f"{spec}: no file matches {pattern!r}{hint}")
    return files


def check_list(spec: str, path: str) -> None:
    """Raises ValueError or FileNotFoundError if a list of images is no file."""
    found = listing.open_path(path)
    if not found.exists():
        raise FileNotFoundError(f"{spec}: no file {path!r}")
    if found.is_dir():
        raise ValueError(f"{spec}: expected a file, got the folder {path!r}")


def _why_none(path: str) -> str:
    """Returns why a plain path that is no folder, and has no known ending, is none."""
    if listing.list_matches(path):
        *first, last = _FORM_OF_ENDING
        return (
            f"expected a folder of images, or a file that ends in {', '.join(first)} "
            f"or {last}, got another file"
        )
    return f"no such files; expected a source as {SOURCES}, got {path!r}"


def _check_not_prepared(path: str) -> None:
    """Raises ValueError if a directory is a TFDS dataset, which needs a split."""
    folder = listing.open_path(path)
    if (folder / "features.json").exists():
        raise ValueError(
            f"{path}: a TFDS dataset is a source as tfds:{path}:SPLIT, such as "
            f"tfds:{path}:train"
        )
