"""Images listed in a CSV file: a path or URI a line, and perhaps a label.

The first line names the columns. Keys are paths relative to the folder of the CSV file
if they lie in it, otherwise absolute ones without what leads to the root, so that no
key is absolute or has `..` in it.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from classifier.data import listing, opening
from classifier.data.class_names import sort_labels
from classifier.data.examples import UNLABELED, File
from classifier.data.opening import FileError
from stage import typed_json

PATH_COLUMN = "path"
LABEL_COLUMN = "label"
#: Most characters of a line.
_MAX_LINE = 2**20


def list_csv(
    spec: str,
    path: str,
    path_column: str | None = None,
    label_column: str | None = None,
    class_names: tuple[str, ...] | None = None,
) -> tuple[list[File], tuple[str, ...] | None]:
    """Returns the files that a CSV file lists, and the names of their classes.

    Args:
        spec: The source, for messages.
        path: Path of the CSV file.
        path_column: Column of the paths; default: `path`.
        label_column: Column of the labels; default: `label`, if there is one.
        class_names: Names that labels are, or are the numbers of; default: the
            different labels, sorted. There are none if no image has a label.

    Raises:
        ValueError: If the file is no such list.
        OSError: If it cannot be read.
    """
    paths, labels = _read(spec, path, path_column or PATH_COLUMN, label_column)
    if not paths:
        raise ValueError(f"{spec}: expected images, found no lines behind the first")
    numbers, class_names = _number_labels(spec, labels, class_names)
    _check_schemes(spec, paths)
    folder = os.path.dirname(path)
    top = folder if "://" in folder else os.path.abspath(folder)
    files = []
    for listed, label in zip(paths, numbers, strict=True):
        full = locate(listed, folder)
        state = listing.find_state(full)
        name = name_of(listed, top)
        files.append(File(path=full, name=name, take=1, label=label, **state))
    return sorted(files, key=lambda file: file.name), class_names


def list_paths(spec: str, path: str, columns: Iterable[str] = ()) -> list[str]:
    """Returns the listed paths as they stand, in the order of the lines.

    They are those of the first of `columns` that the file has, else of `path`.

    Raises:
        ValueError: If the file is no such list.
        OSError: If it cannot be read.
    """
    file = File(path=path, name=path, **listing.find_state(path))
    with opening.open_file(file) as stream:
        rows = csv.reader(_lines(spec, stream), strict=True)
        try:
            header = next(rows, [])
        except csv.Error as error:
            raise ValueError(f"{spec}: in line 1: {error}") from error
        name = next((name for name in columns if name in header), PATH_COLUMN)
        at = _find_column(spec, header, name, "--image_column")
        return _columns(spec, rows, len(header), at, None)[0]


def locate(listed: str, folder: str) -> str:
    """Returns the path of a listed one, which may be relative to a folder."""
    is_whole = listed.startswith("/") or "://" in listed or not folder
    return listed if is_whole else posixpath.join(folder, listed)


def name_of(listed: str, top: str) -> str:
    """Returns the key of a listed path; `top` is the CSV file's folder, absolute."""
    if "://" not in listed and not listed.startswith("/"):
        name = posixpath.normpath(listed)
        if name != ".." and not name.startswith("../"):
            return name
        listed = f"{top}/{listed}"
    scheme, separator, rest = listed.rpartition("://")
    path = posixpath.normpath("/" + rest.lstrip("/"))
    inside = path[1:] if separator else path
    inside = (scheme + separator + inside).removeprefix(top.rstrip("/") + "/")
    if inside.startswith(("/", scheme + "://")):
        inside = posixpath.normpath("/" + posixpath.join(scheme, path[1:]))[1:]
    return inside or "."


def _read(
    spec: str, path: str, path_column: str, label_column: str | None
) -> tuple[list[str], list[str]]:
    """Returns the path and the label of each line, "" where there is none."""
    file = File(path=path, name=path, **listing.find_state(path))
    try:
        with opening.open_file(file) as stream:
            rows = csv.reader(_lines(spec, stream), strict=True)
            header = next(rows, [])
            at = _find_column(spec, header, path_column, "--image_column")
            label_at = None
            if label_column is not None or LABEL_COLUMN in header:
                wanted = label_column if label_column is not None else LABEL_COLUMN
                label_at = _find_column(spec, header, wanted, "--label_column")
            return _columns(spec, rows, len(header), at, label_at)
    except FileError as error:
        raise ValueError(f"{spec}: {error.reason}") from error


def _columns(
    spec: str, rows: Iterator[list[str]], width: int, at: int, label_at: int | None
) -> tuple[list[str], list[str]]:
    paths, labels = [], []
    known: dict[str, str] = {}  # One object for each label.
    line = 1
    try:
        for row in rows:
            line = rows.line_num  # type: ignore[attr-defined]
            if not row:
                continue
            if len(row) != width:
                raise ValueError(
                    f"{spec}: expected {width} values in line {line}, as in the first, "
                    f"got {len(row)}"
                )
            if not row[at]:
                raise ValueError(f"{spec}: expected a path in line {line}, got none")
            paths.append(row[at])
            label = "" if label_at is None else row[label_at].strip()
            labels.append(known.setdefault(label, label))
    except csv.Error as error:
        raise ValueError(f"{spec}: behind line {line}: {error}") from error
    return paths, labels


def _lines(spec: str, stream: BinaryIO) -> Iterator[str]:
    """Yields lines, whose bytes that are not UTF-8 are kept as paths keep them."""
    text = io.TextIOWrapper(
        stream, encoding="utf-8-sig", errors="surrogateescape", newline=""
    )
    while line := text.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise ValueError(f"{spec}: expected lines of less than {_MAX_LINE:,} bytes")
        yield line


def _find_column(spec: str, header: Sequence[str], name: str, flag: str) -> int:
    if header.count(name) != 1:
        got = typed_json.shorten(", ".join(map(repr, header)) or "nothing")
        raise ValueError(
            f"{spec}: expected one column {name!r} in the first line ({flag} names "
            f"another), separated by commas, got {got}"
        )
    return list(header).index(name)


def _number_labels(
    spec: str, labels: Sequence[str], class_names: tuple[str, ...] | None
) -> tuple[Iterator[int], tuple[str, ...] | None]:
    """Returns the label of each line as a number, and the names by number."""
    different = set(labels) - {""}
    if not different:
        return iter([UNLABELED] * len(labels)), None
    names = class_names if class_names is not None else sort_labels(different)
    number_of = {name: number for number, name in enumerate(names)}
    unknown = sorted(different - set(names))
    if unknown and all(label.isascii() and label.isdecimal() for label in different):
        number_of = {label: int(label) for label in different}
    elif unknown:
        raise ValueError(
            f"{spec}: label {unknown[0]!r} is none of the {len(names)} class names"
        )
    number_of[""] = UNLABELED
    return (number_of[label] for label in labels), names


def _check_schemes(spec: str, paths: Sequence[str]) -> None:
    """Raises ValueError if a file system is not known."""
    some = {path.partition("://")[0]: path for path in paths if "://" in path}
    for path in some.values():
        try:
            listing.open_path(path)
        except ValueError as error:
            message = typed_json.error_message(error)
            raise ValueError(f"{spec}: {message}") from error
