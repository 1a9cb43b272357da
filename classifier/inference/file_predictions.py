"""The most probable classes of image files."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.data import listing, python_reader
from classifier.data.examples import File, key_text
from classifier.data.readers import FolderReader
from classifier.inference.ensemble import BATCH_SIZE, Ensemble
from stage.flags import split_source
from stage.status import OK
from stage.text import printable

CSV_COLUMNS = ("file", "status", "rank", "label", "class", "probability", "error")
#: Decimals of a probability: float32 has little more.
_DECIMALS = 6
#: Most characters of a column; what is longer shifts its row.
_MAX_WIDTH = 60


@dataclasses.dataclass(frozen=True)
class TopClass:
    """One of the most probable classes of an image."""

    label: int
    class_name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class FilePrediction:
    r"""The most probable classes of one file.

    Attributes:
        file: Path; bytes that are not UTF-8 are written as \xNN.
        status: `ok`, or why there is no prediction.
        error: Reason in words where the status is not `ok`, else "".
        top: Most probable classes, in descending order; empty where not `ok`.
    """

    file: str
    status: str
    error: str
    top: tuple[TopClass, ...]


def list_images(paths: Iterable[str]) -> list[File]:
    """Returns files, and the files of directories, recursively and by name.

    A path that does not exist is kept: reading it gives it a status. Raises ValueError
    if a directory holds no file.
    """
    files = []
    for path in paths:
        path = _without_form(path)
        if not listing.is_folder(path):
            files.append(File(path=path, name=path, take=1))
            continue
        entries = listing.list_folder(path)
        if not entries:
            raise ValueError(f"expected files in {path!r}, found none")
        files += [dataclasses.replace(entry, name=entry.path) for entry in entries]
    return files


def _without_form(path: str) -> str:
    """Returns the path of a folder as a source, `folder:PATH`, and any other as it is.

    Raises ValueError for sources of other forms.
    """
    form, rest = split_source(path)
    if not form or not rest or os.path.lexists(path):
        return path
    if form != "folder":
        raise ValueError(
            f"expected files or folders of images, got {path}; "
            "beam_jobs.label_images predicts those of any source"
        )
    return rest


def predict_files(
    ensemble: Ensemble, files: Sequence[File], *, top_k: int
) -> Iterator[FilePrediction]:
    """Yields the prediction of each file of one image, in order.

    It names `top_k` classes, all if there are fewer.
    """
    for batch in python_reader.read_batches(FolderReader(), files, BATCH_SIZE):
        predictions = ensemble.predict(ensemble.decode(batch))
        for row, example in enumerate(batch):
            status = predictions.status[row]
            count = top_k if status == OK else 0
            top = _top(predictions.probabilities[row], ensemble.class_names, count)
            yield FilePrediction(
                key_text(example.key), status, predictions.error[row], top
            )


@dataclasses.dataclass(frozen=True)
class PrintLayout:
    """How predictions are printed: lines before all, and those of each.

    Attributes:
        header: Lines before the predictions.
        lines: Function from a prediction to its lines.
    """

    header: tuple[str, ...]
    lines: Callable[[FilePrediction], str]


def make_layout(
    name: str, *, files: Sequence[File], class_names: Sequence[str]
) -> PrintLayout:
    """Returns the layout `table`, `csv` or `json` of the predictions of some files."""
    if name == "json":
        return PrintLayout((), to_json)
    if name == "csv":
        return PrintLayout((_csv_line(CSV_COLUMNS),), to_csv)
    names = (printable(file.name) for file in files)
    file_width = min(max(map(len, ("file", *names))), _MAX_WIDTH)
    width = min(max(map(len, ("class", *map(printable, class_names)))), _MAX_WIDTH)
    header = f"{'file':<{file_width}}  {'class':<{width}} probability  next"
    lines = functools.partial(to_row, file_width=file_width, width=width)
    return PrintLayout((header,), lines)


def to_row(prediction: FilePrediction, *, file_width: int, width: int) -> str:
    """Returns a prediction as a row of a table with widths of files and classes."""
    row = f"{printable(prediction.file):<{file_width}}  "
    if prediction.status != OK:
        return f"{row}{prediction.status}: {printable(prediction.error)}"
    best, *others = (
        (printable(top.class_name), top.probability) for top in prediction.top
    )
    others_ = ", ".join(f"{name} {share:.2%}" for name, share in others)
    return f"{row}{best[0]:<{width}} {best[1]:>11.2%}  {others_}".rstrip()


def to_csv(prediction: FilePrediction) -> str:
    """Returns a prediction as lines of CSV, one for each class, see `CSV_COLUMNS`."""
    file, status = printable(prediction.file), prediction.status
    if status != OK:
        error = printable(prediction.error)
        return _csv_line((file, status, "", "", "", "", error))
    return "\n".join(
        _csv_line((file, status, rank, top.label, printable(top.class_name), share, ""))
        for rank, top in enumerate(prediction.top, start=1)
        for share in [f"{top.probability:.{_DECIMALS}f}"]
    )


def to_json(prediction: FilePrediction) -> str:
    """Returns a prediction as one line of JSON, in ASCII."""
    facts = dataclasses.asdict(prediction)
    for top in facts["top"]:
        top["probability"] = round(top["probability"], _DECIMALS)
    del facts["top" if prediction.status != OK else "error"]
    return json.dumps(facts)


def _csv_line(values: Iterable[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _top(
    probabilities: NDArray[np.float32], class_names: Sequence[str], top_k: int
) -> tuple[TopClass, ...]:
    # Ties go to the lower class, as in labeling.
    labels = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    return tuple(
        TopClass(label, class_names[label], float(probabilities[label]))
        for label in labels
    )
