"""The files of a source of images, compared without opening them.

Of a CSV file the images that it lists are compared, too. Sources that the run makes
itself, those on other file systems, where listing costs requests, and those that are
gone are not compared: the stages that read them do it.

A stage's own description of a source, which a report compares with the files there are
now (`workflow.report.analysis.source_warnings`), is another one: it knows no times, and
of a table it reads more than the paths.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence

from classifier.data import csv_listing, listing
from classifier.data.examples import File
from stage.flags import split_dataset, split_source
from stage.system import is_within


def fingerprint(
    spec: str, *, data_dir: str, run: str, columns: Iterable[str] = ()
) -> str | None:
    """Returns a fingerprint of names, sizes and times of the files of a source.

    None if they cannot be compared, "" if there are none.

    Args:
        spec: A source of images, with its form or a plain path; or a file.
        data_dir: Directory of TFDS datasets.
        run: Directory of the run.
        columns: Columns that may have the paths of a CSV file, if not the usual.
    """
    kind, path = split_source(spec)
    if kind == "hf":
        return None
    if kind == "tfds":
        path, _ = split_dataset(path)
        if "/" not in path or not os.path.isdir(path):
            path = os.path.join(data_dir, path)
    if "://" in path or is_within(path, run):
        return None
    try:
        listed = _list(kind, path)
    except (OSError, ValueError):
        # TFDS also looks elsewhere.
        return None if kind == "tfds" else ""
    if not listed:
        return ""
    images = _list_images(kind, path, columns)
    if images and all(file.size < 0 for file in images):
        return None
    return listing.fingerprint_states((*listed, *images))


def _list(kind: str, path: str) -> Sequence[File]:
    if kind in ("folder", "tfds") or (not kind and os.path.isdir(path)):
        return listing.list_folder(path)
    is_file = kind == "csv" or (not kind and os.path.isfile(path))
    return listing.list_matches(glob.escape(path) if is_file else path)


def _list_images(kind: str, path: str, columns: Iterable[str]) -> Sequence[File]:
    """Returns the images that a CSV file lists, by the paths in it.

    None of a file that is wrong, which the command that reads it will say.
    """
    if kind != "csv" and not (not kind and path.endswith(".csv")):
        return ()
    folder = os.path.dirname(path)
    try:
        names = csv_listing.list_paths(path, path, columns)
        found = ((name, csv_listing.locate(name, folder)) for name in names)
        return [File(path=p, name=n, **listing.find_state(p)) for n, p in found]
    except (OSError, ValueError):
        return ()
