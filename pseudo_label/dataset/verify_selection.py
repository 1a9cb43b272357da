"""Counts the predictions of a written dataset again and compares the selection.

Reads predictions one shard at a time and decides about each one again, so it shares
with the jobs only file formats and the rules of `selection.decision`. Memory holds a
row of each image kept, no image bytes.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from pseudo_label.dataset import verify_rows
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import (
    PredictionSet,
    open_predictions,
    teacher_fingerprint,
)
from pseudo_label.selection.decision import (
    SELECTION,
    Selection,
    SelectionConfig,
    check_class_names,
    count_copies,
    funnel_title,
)
from stage import artifact, typed_json

_COLUMNS = (*verify_rows.COLUMNS, "record_index", "image_sha256")
#: Fields of a rule that are counted again.
_RULE_COUNTS = ("confident", "unique", "records")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """What is read of the `config.json` of a dataset.

    Attributes:
        record_version: Version of the records.
        predictions: Fingerprint of the labeling run.
        selection: SHA-256 of `selection.json`.
        settings: Settings of the selection.
        teacher: Fingerprint of the teachers.
        round: Round of self-training, counted from 1.
        num_shards: Number of files.
    """

    record_version: str
    predictions: str
    selection: str
    settings: SelectionConfig
    teacher: str
    round: typed_json.Count
    num_shards: typed_json.Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """The content of `inputs.json`: paths, relative to the dataset where possible."""

    predictions: typed_json.PathText
    selection: typed_json.PathText


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lineage:
    """A dataset and the artifacts it was made from, whose fingerprints agree.

    Attributes:
        dataset: Directory of the dataset.
        config: What is read of its `config.json`.
        predictions: The predictions.
        selection_directory: Directory of the selection.
        selection: Content of its `selection.json`.
    """

    dataset: epath.Path
    config: DatasetConfig
    predictions: PredictionSet
    selection_directory: epath.Path
    selection: Selection


@dataclasses.dataclass(frozen=True)
class Count:
    """A number that was counted again.

    Attributes:
        what: Title.
        expected: Number in the files; None if it is in none.
        found: Number counted.
    """

    what: str
    expected: int | None
    found: int


def open_lineage(
    dataset: str, *, predictions: str | None = None, selection: str | None = None
) -> Lineage:
    """Returns a dataset and what it was made from.

    `predictions` and `selection` are their directories, if moved since.

    Raises:
        FileNotFoundError: If a directory does not exist.
        ValueError: If one is not complete, or they do not belong together.
    """
    path = artifact.require_complete(dataset, "dataset")
    config = _read_config(path)
    inputs = vars(typed_json.read(path / "inputs.json", Inputs))
    given = {"predictions": predictions, "selection": selection}
    predicted, selected = (
        artifact.require_complete(
            directory or artifact.resolve_path(inputs[name], start=dataset),
            name if directory else f"{path / 'inputs.json'}: {name}",
        )
        for name, directory in given.items()
    )
    labeled = open_predictions(str(predicted))
    decision = typed_json.read_bytes(selected / SELECTION)
    parents = {
        "predictions": labeled.fingerprint,
        "selection": hashlib.sha256(decision).hexdigest(),
        "teacher": teacher_fingerprint(labeled.teachers),
    }
    for name, fingerprint in parents.items():
        _check_fingerprint(f"{path}: {name}", getattr(config, name), fingerprint)
    lineage = Lineage(
        dataset=path,
        config=config,
        predictions=labeled,
        selection_directory=selected,
        selection=Selection.from_json(decision, str(selected / SELECTION)),
    )
    _check_selection(lineage, labeled.class_names)
    return lineage


def count_predictions(lineage: Lineage) -> tuple[pa.Table, list[Count]]:
    """Decides again about every prediction; returns the kept ones and the funnel.

    The table of the kept ones is ordered by input shard and row. It has the columns
    that records repeat, `shard`, the index of the input shard, and `copies`, the
    number of records.

    Raises:
        ValueError: If a row contradicts itself or the dropped rows, or a count
            differs from `selection.json`.
    """
    rules = lineage.selection.classes
    funnel: collections.Counter[str] = collections.Counter()
    by_class = {name: np.zeros(len(rules), np.int64) for name in _RULE_COUNTS}
    parts = []
    for index in range(lineage.predictions.num_shards):
        path = lineage.predictions.path(index)
        rows = prediction_schema.read_table(path, _COLUMNS)
        verify_rows.check_predictions(path, rows, num_classes=len(rules))
        copies, of_shard = _decide(lineage, index, rows, by_class)
        funnel.update(of_shard)
        kept = np.flatnonzero(copies)
        part = rows.take(kept).append_column("copies", [copies[kept]])
        parts.append(part.append_column("shard", [np.full(len(kept), index)]))
    for name, found in by_class.items():
        for rule, number in zip(rules, found.tolist(), strict=True):
            title = f"class {rule.name!r}: {name}"
            check(Count(title, getattr(rule, name), number), "the selection")
    counts = [
        Count(funnel_title(name), expected, funnel[name])
        for name, expected in vars(lineage.selection.funnel).items()
    ]
    for count in counts:
        check(count, "the selection")
    return pa.concat_tables(parts).combine_chunks(), counts


def check(count: Count, source: str) -> None:
    """Raises ValueError unless the count is as expected by the source."""
    if count.expected is not None and count.found != count.expected:
        raise ValueError(
            f"{count.what}: expected {count.expected:,} as in {source}, found "
            f"{count.found:,}"
        )


def _decide(
    lineage: Lineage, index: int, rows: pa.Table, by_class: dict[str, NDArray[np.int64]]
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Returns the number of records of each row and the shard's part of the funnel.

    Adds to `by_class`, int64 [K] for each of `_RULE_COUNTS`.
    """
    directory = lineage.selection_directory
    dropped_rows = near_duplicates.read_dropped_rows(
        directory,
        index,
        verify_rows.DROPPED_COLUMNS,
        selection=lineage.selection.fingerprint,
    )
    path = near_duplicates.dropped_path(directory, index)
    verify_rows.check_dropped(path, dropped_rows, rows)
    dropped = dropped_rows["record_index"].to_numpy()
    copies = count_copies(rows, lineage.selection, dropped)
    labels = rows["label"].fill_null(-1).to_numpy()
    is_candidate = labels >= 0
    undecodable = int(np.sum(~is_candidate))
    is_candidate[dropped] = False
    confidence = rows["confidence"].fill_null(0).to_numpy()
    is_confident = is_candidate & (confidence >= lineage.selection.thresholds[labels])
    np.add.at(by_class["confident"], labels[is_confident], 1)
    np.add.at(by_class["unique"], labels[copies > 0], 1)
    np.add.at(by_class["records"], labels, copies)
    unique, records = int(np.sum(copies > 0)), int(copies.sum())
    return copies, {
        **collections.Counter(dropped_rows["reason"].to_pylist()),
        "read": rows.num_rows,
        "undecodable": undecodable,
        "below_threshold": int(np.sum(is_candidate & ~is_confident)),
        "beyond_quota": int(is_confident.sum()) - unique,
        "unique_kept": unique,
        "copies": records - unique,
        "records": records,
    }


def _read_config(dataset: epath.Path) -> DatasetConfig:
    try:
        return typed_json.read(dataset / artifact.CONFIG, DatasetConfig)
    except ValueError as error:
        raise ValueError(f"{dataset} is no dataset of write_records: {error}") from None


def _check_fingerprint(what: str, expected: str, found: str) -> None:
    if found != expected:
        raise ValueError(
            f"{what}: expected the one with fingerprint "
            f"{typed_json.shown(expected[:12])}, got {typed_json.shown(found[:12])}"
        )


def _check_selection(lineage: Lineage, class_names: Sequence[str]) -> None:
    path = lineage.selection_directory
    _check_fingerprint(
        f"{path}: predictions",
        lineage.config.predictions,
        lineage.selection.predictions,
    )
    if lineage.selection.settings != lineage.config.settings:
        raise ValueError(
            f"{lineage.dataset / artifact.CONFIG}: settings: expected those of {path}"
        )
    check_class_names(path / SELECTION, lineage.selection, class_names)
