"""The form of a source of images that is a plain path."""

from __future__ import annotations

import os

from classifier.data import listing
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
    raise ValueError(f"expected a source as {SOURCES}, got {spec!r}")


def _check_not_prepared(path: str) -> None:
    """Raises ValueError if a directory is a TFDS dataset, which needs a split."""
    folder = listing.open_path(path)
    if (folder / "features.json").exists():
        raise ValueError(
            f"{path}: a TFDS dataset is a source as tfds:{path}:SPLIT, such as "
            f"tfds:{path}:train"
        )
