"""Damaged files of finished stages: JSON and Parquet.

JSON has no checksum, so that changed values may be accepted; but a reader returns, or
refuses the file by one line. A changed table is never read: it is equal, or refused.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tensorflow.core.protobuf import saved_model_pb2

from classifier.data import shard_manifest
from classifier.data.sources import open_source
from classifier.export import saved_model
from pseudo_label.dataset import records
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import prediction_set, schema
from pseudo_label.selection import decision, precision, thresholds, what_if
from stage import artifact, calibration_files, parquet
from tests import chain
from tests.fuzz import mutations
from tests.fuzz.harness import Target
from tests.pseudo_label.dataset import spoiling
from tests.workflow.report import runs
from workflow import rounds
from workflow.report import write_report
from workflow.report.analysis import run_files
from workflow.samples import tiles

#: Reads the files below a directory.
Act = Callable[[pathlib.Path], Any]
_NAMES = ("ant", "bee")
#: Distinct times, because footers are remembered by a file's size and time.
_TIMES = itertools.count(1)


def prepare(root: pathlib.Path) -> None:
    """Writes a run as the report reads it, a chain, and single artifacts."""
    sizes = {"images": 90, "tested": 30, "tiles": 1, "accuracies": (0.8, 0.9)}
    runs.make(root, runs.Plan(class_names=runs.NAMES, calibrated=True, **sizes))
    for path in root.glob("**/evaluation.parquet"):
        parquet.write_parquet_file(path, pq.read_table(path))
    made = chain.make(root / "chain", dropped={0: [1], 1: [2, 5]})
    made.write()
    shard_manifest.freeze(
        open_source(made.images), made.predictions, allow_new_shards=False
    )
    cell = what_if.WhatIfCell(
        confidence_threshold=0.5, images_per_class=2, records=4, unique=3, copies=1,
        empty_classes=0, precision=precision.Precision.of(np.array([True, False])),
    )  # fmt: skip
    what_if.write_table(made.selection, [cell])
    artifact.write_json(root / "thresholds.json", {"ant": 0.5, "bee": 0.25})
    _write_calibration(root / "round-1" / "calibration", 0.8)
    _write_calibration(root / "round-2" / "calibration", 0.9)
    _write_teacher(root / "teacher")


def _write_calibration(directory: pathlib.Path, accuracy: float) -> None:
    facts = {"schema_version": 1, "kind": "held_out", "teachers": ["t"]}
    facts |= {"class_names": list(_NAMES), "num_images": 5, "num_undecodable": 0}
    facts |= {"temperature": 1.2, "temperature_reason": None, "accuracy": accuracy}
    runs.write(directory / "calibration.json", facts)
    labeled = {"num_shards": 1, "num_files": 1, "fingerprint": "ab" * 32}
    facts = {"kind": "held_out", "labeled": labeled, "teachers": ["t"]}
    runs.write(directory / "config.json", facts | {"class_names": list(_NAMES)})
    rows = runs.pa.table(
        {"label": np.int32([0, 1]), "predicted": np.int32([0, 0])}
        | {"confidence": np.float32([0.5, 0.75])}
    )
    parquet.write_parquet_file(directory / "calibration.parquet", rows)


def _write_teacher(directory: pathlib.Path) -> None:
    """Writes the facts of a classifier, and a model with no more than signatures."""
    model = saved_model_pb2.SavedModel()
    signatures = model.meta_graphs.add().signature_def
    signatures["preprocess"].outputs["pixels"].name = "pixels"
    logits = signatures["pixels"].outputs["logits"].tensor_shape
    for size in (-1, len(_NAMES)):
        logits.dim.add().size = size
    (directory / "export" / "variables").mkdir(parents=True)
    (directory / "export" / "saved_model.pb").write_bytes(model.SerializeToString())
    (directory / "export" / "variables" / "variables.index").touch()
    image = {"size": 32, "crop_fraction": 0.875, "min_crop_area": 0.08}
    evaluation = {"num_examples": 4, "num_correct": 2, "cross_entropy": 1.0}
    facts = {"fingerprint": "ab" * 32, "class_names": list(_NAMES), "temperature": 1.0}
    facts |= {"image": {**image, "random_flip": True}, "left_out": None}
    facts |= {"num_parameters": 9, "evaluation": {**evaluation, "top1": 0.5}}
    runs.write(directory / "classifier.json", facts)
    runs.write(directory / "config.json", {"config": {"seed": 1}})


def targets(root: pathlib.Path) -> list[Target]:
    """Returns the targets; `prepare` writes their files."""
    dataset = root / "chain" / "dataset" / records.shard_name(1, 6)
    return [
        *(_document(root, path, act, slow=slow) for path, act, slow in _DOCUMENTS),
        *(_table(root, path, act) for path, act in _TABLES),
        _dataset(dataset, chain.Chain(root / "chain")),
    ]


def _document(root: pathlib.Path, path: str, act: Act, *, slow: bool) -> Target:
    def make(random: Random) -> bytes:
        lines = [(root / path).read_bytes()]
        if path.endswith("l"):
            lines = lines[0].splitlines(keepends=True)
        at = random.randrange(len(lines))
        changed = mutations.change_json(random, [lines[at]])
        return b"".join([*lines[:at], changed, *lines[at:][1:]])

    def check(content: bytes) -> None:
        with _changed(root / path, content):
            act(root)

    name, quick = f"{path} {act.__name__}", 5 if slow else 100
    return Target(name, make, check, str(root / path), quick)


def _table(root: pathlib.Path, path: str, act: Act) -> Target:
    @functools.cache
    def expected() -> Any:
        return act(root)

    def check(content: bytes) -> None:
        before = expected()
        with _changed(root / path, content):
            assert act(root) == before, "other values than were written"

    return Target(
        f"{path} {act.__name__}",
        lambda random: mutations.change_bytes(random, [(root / path).read_bytes()]),
        check,
        str(root / path),
    )


def _dataset(path: pathlib.Path, written: chain.Chain) -> Target:
    def check(content: bytes) -> None:
        is_same = content == path.read_bytes()
        with _changed(path, content):
            spoiling.verify(written)
        assert is_same, "verified in spite of changed bytes"

    def make(random: Random) -> bytes:
        return mutations.change_bytes(random, [path.read_bytes()])

    return Target("dataset verify", make, check, str(path), quick=3)


@contextlib.contextmanager
def _changed(path: pathlib.Path, content: bytes) -> Iterator[None]:
    """Gives a file other content while a block runs."""
    before = path.read_bytes()
    path.write_bytes(content)
    os.utime(path, (next(_TIMES),) * 2)
    try:
        yield
    finally:
        path.write_bytes(before)


# --- readers of JSON ------------------------------------------------------------
def report(root: pathlib.Path) -> None:
    """Reads nearly all files of a run."""
    write_report.report_on(root)


def compare(root: pathlib.Path) -> None:
    write_report.compare([root], root / "comparison.json")


def decide(root: pathlib.Path) -> None:
    selected = decision.open_selection(
        str(root / "chain/selection"), _predictions(root)
    )
    rows = schema.read_table(_predictions(root).path(0), decision.COLUMNS)
    decision.count_copies(rows, selected)


def predictions(root: pathlib.Path) -> None:
    _predictions(root)


def images(root: pathlib.Path) -> None:
    made = chain.Chain(root / "chain")
    shard_manifest.match_predictions(open_source(made.images), made.predictions)


def resume(root: pathlib.Path) -> None:
    artifact.start_or_resume(root / "chain" / "predictions", {"top_k": 2})


def verify(root: pathlib.Path) -> None:
    spoiling.verify(chain.Chain(root / "chain"))


def open_dataset(root: pathlib.Path) -> None:
    open_source(f"tfds:{root}/chain/dataset:train").labeled_class_names()


def temperature(root: pathlib.Path) -> None:
    directory = root / "round-1" / "calibration"
    assert calibration_files.read_temperature(directory, teachers=["t"]) > 0


def read_calibration(root: pathlib.Path) -> None:
    precision.read_calibration(root / "round-1" / "calibration")


def decide_rounds(root: pathlib.Path) -> None:
    accuracies, count = rounds.read_accuracies(root)
    compared = rounds.compare_rounds(accuracies)
    content = rounds.to_json(compared, None, num_images=count)
    list(rounds.format_decision(content))


def class_thresholds(root: pathlib.Path) -> None:
    path = str(root / "thresholds.json")
    thresholds.read_class_thresholds(path, _NAMES, default=0.5)


def what_ifs(root: pathlib.Path) -> None:
    cells = what_if.read_table(root / "chain" / "selection")
    list(what_if.format_table(cells or ()))


def teacher(root: pathlib.Path) -> None:
    saved_model.read_ensemble_facts([root / "teacher"])


#: Files, their readers, and whether these take long.
_DOCUMENTS: tuple[tuple[str, Act, bool], ...] = (
    ("chain/predictions/config.json", predictions, False),
    ("chain/predictions/config.json", images, False),
    ("chain/predictions/config.json", resume, False),
    ("chain/predictions/config.json", verify, True),
    ("chain/selection/selection.json", decide, False),
    ("chain/selection/what_if.json", what_ifs, False),
    ("chain/dataset/inputs.json", verify, True),
    ("chain/dataset/config.json", verify, True),
    ("chain/dataset/dataset_info.json", verify, True),
    ("chain/dataset/dataset_info.json", open_dataset, False),
    ("chain/dataset/features.json", open_dataset, False),
    ("round-1/calibration/calibration.json", temperature, False),
    ("round-1/calibration/calibration.json", read_calibration, False),
    ("round-1/calibration/calibration.json", decide_rounds, False),
    ("round-1/calibration/config.json", decide_rounds, False),
    ("round-1/selection/selection.json", report, True),
    ("round-1/predictions/config.json", report, True),
    ("round-1/dataset/dataset_info.json", report, True),
    ("round-1/evaluation/evaluation.json", report, True),
    ("round-1/student/classifier.json", report, True),
    ("round-1/student/config.json", report, True),
    ("round-1/student/metrics.jsonl", report, True),
    ("round-1/student/COMPLETED", report, True),
    ("control/config.json", report, True),
    ("teacher/classifier.json", teacher, False),
    ("thresholds.json", class_thresholds, False),
)


# --- readers of Parquet ---------------------------------------------------------
def _predictions(root: pathlib.Path) -> prediction_set.PredictionSet:
    return prediction_set.open_predictions(str(root / "chain" / "predictions"))


def opened(root: pathlib.Path) -> Any:
    return _predictions(root)


def rows(root: pathlib.Path) -> Any:
    path = root / "chain" / "predictions" / schema.shard_name(1)
    return schema.read_table(path, schema.schema().names), schema.read_facts(path)


def some_columns(root: pathlib.Path) -> Any:
    path = root / "chain" / "predictions" / schema.shard_name(1)
    return schema.read_table(path, decision.COLUMNS)


def shards(root: pathlib.Path) -> Any:
    directory = root / "chain" / "predictions"
    return [shard_manifest.read_shard(directory, index) for index in range(3)]


def match(root: pathlib.Path) -> Any:
    made = chain.Chain(root / "chain")
    source = open_source(made.images)
    matched = shard_manifest.match(source, made.predictions, allow_new_shards=False)
    return matched.shards


def dropped(root: pathlib.Path) -> Any:
    columns = ["record_index", "reason"]
    return near_duplicates.read_dropped_rows(root / "chain" / "selection", 1, columns)


def evaluated(root: pathlib.Path) -> Any:
    read = run_files.read_evaluated(root / "round-1" / "evaluation/evaluation.parquet")
    return {name: column.tolist() for name, column in vars(read).items()}


def calibrated(root: pathlib.Path) -> Any:
    read = vars(precision.read_calibration(root / "round-1" / "calibration"))
    columns = ("label", "predicted", "confidence")
    return {name: read[name].tolist() for name in columns}


def samples(root: pathlib.Path) -> Any:
    return tiles.read_samples(root / "round-1" / "samples")


_TABLES: tuple[tuple[str, Act], ...] = (
    ("chain/predictions/predictions-00001.parquet", rows),
    ("chain/predictions/predictions-00001.parquet", some_columns),
    ("chain/predictions/predictions-00001.parquet", opened),
    ("chain/predictions/shards.parquet", shards),
    ("chain/predictions/shards.parquet", match),
    ("chain/selection/dropped/predictions-00001.parquet", dropped),
    ("round-1/evaluation/evaluation.parquet", evaluated),
    ("round-1/calibration/calibration.parquet", calibrated),
    ("round-1/samples/samples.parquet", samples),
)
