"""Damaged files of finished stages: JSON and Parquet.

JSON has no checksum, so that other values may be read; but a reader returns, or refuses
the file by one line. Tables and records are read as they were written, or refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy

from beam_jobs.propagation import job as propagation
from beam_jobs.propagation import passes
from classifier.data import shard_manifest
from classifier.data.sources import open_source
from classifier.export import head, onnx_file, saved_model
from classifier.export.facts import ClassifierFacts, fingerprint
from classifier.features import graph_config
from classifier.probing import zero_shot
from classifier.training import checkpoint, metrics, presets
from classifier.training.config import read_run
from classifier.weights import files
from pseudo_label.dataset import records
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.propagation.cells import spread_type
from pseudo_label.selection import decision, precision, thresholds, what_if
from stage import artifact, calibration_files, licenses, parquet
from stage.licenses import Origin
from tests import chain
from tests.beam_jobs.propagation import sets
from tests.classifier.features import onnx_models, probes
from tests.fuzz import mutations
from tests.fuzz.harness import Target
from tests.pseudo_label.dataset import spoiling
from tests.workflow.report import runs
from workflow import rounds
from workflow.chain import receipts
from workflow.chain.stage import Stage, settings
from workflow.commands import running
from workflow.report import write_report
from workflow.report.analysis import run_files
from workflow.run_file import reading
from workflow.run_file.config import RunConfig
from workflow.samples import tiles

#: Reads a directory in which one file was changed.
Read = Callable[[pathlib.Path], Any]
_NAMES = ("ant", "bee")
_LEDGER = (
    Origin(kind="images", name="folder:a", license="MIT", stated_by="user"),
    Origin(kind="weights", name="hf:b", revision="c", fingerprint="d" * 64),
)
_FIRST, _SHARD = schema.shard_name(0), schema.shard_name(1)
#: A stage that was made by settings.
_STAGE = Stage(
    name="control", module="student.train", arguments=settings(seed=3, preset="tiny")
)
#: Distinct times, because footers are remembered by a file's size and time.
_TIMES = itertools.count(1)


# --- undamaged files --------------------------------------------------------------
def prepare(root: pathlib.Path) -> None:
    """Writes a run as the report reads it, a chain, and single artifacts."""
    sizes = {"images": 90, "tested": 30, "tiles": 1, "accuracies": (0.8, 0.9)}
    runs.make(root, runs.Plan(class_names=runs.NAMES, calibrated=True, **sizes))
    write_report.report_on(root)
    _write_settings(root)
    for path in root.glob("**/evaluation.parquet"):
        parquet.write_parquet_file(path, pq.read_table(path))
    made = chain.make(root / "chain", dropped={0: [1], 1: [2, 5]})
    made.write()
    shard_manifest.freeze(
        open_source(made.images), made.predictions, allow_new_shards=False
    )
    cell = dict.fromkeys((f.name for f in dataclasses.fields(what_if.WhatIfCell)), 1)
    judged = precision.Precision.of(np.array([True, False]))
    what_if.write_table(
        made.selection, [what_if.WhatIfCell(**cell | {"precision": judged})]
    )
    artifact.write_json(root / "thresholds.json", {"ant": 0.5, "bee": 0.25})
    for number, accuracy in ((1, 0.8), (2, 0.9)):
        _write_calibration(root / f"round-{number}" / "calibration", accuracy)
    _write_teacher(root / "teacher")
    licenses.write(root / "round-1" / "student", _LEDGER)
    _write_probe(root / "probe")
    _write_weights(root / "weights")
    for name in ("features", "labeled"):
        sets.write(root / name, shards=1, rows=9, labeled=name == "labeled")
    job = _propagation(root)
    for path in (job.unit_path(0), job.landmarks):
        path.parent.mkdir(parents=True, exist_ok=True)
        passes._write_spread(path, np.ones(5, spread_type(sets.TOP_K)), job)


def _write_settings(root: pathlib.Path) -> None:
    """Writes the settings of a run, its choice, and the receipt of a stage."""
    assignments = ["data.labeled=folder:a", "teacher.members=3", "data.exclude=['b']"]
    reading.write_run(reading.read_run(None, assignments, output=str(root)))
    student = {"preset": "tiny", "flags": ["--set=image.size=64"]}
    choice = {"features": "hf:a/b", "student": student}
    runs.write(root / "choice" / "choice.json", {"choice": choice})
    made = receipts.make(_STAGE, str(root), _source_files(root))
    receipts.write(made, _STAGE, str(root))


def _source_files(root: pathlib.Path) -> receipts.SourceFiles:
    return receipts.SourceFiles(data_dir="", run=str(root))


def _write_calibration(directory: pathlib.Path, accuracy: float) -> None:
    config = {"kind": "held_out", "teachers": ["t"], "class_names": _NAMES}
    facts = {"schema_version": 1, "num_images": 5, "num_undecodable": 0, **config}
    facts |= {"temperature": 1.2, "temperature_reason": None, "accuracy": accuracy}
    runs.write(directory / "calibration.json", facts)
    labeled = {"num_shards": 1, "num_files": 1, "fingerprint": "ab" * 32}
    runs.write(directory / "config.json", {**config, "labeled": labeled})
    numbers = {"label": np.int32([0, 1]), "predicted": np.int32([0, 0])}
    table = pa.table(numbers | {"confidence": np.float32([0.5, 0.75])})
    parquet.write_parquet_file(directory / "calibration.parquet", table)


def _write_probe(directory: pathlib.Path) -> None:
    """Writes an ONNX file of others, its settings, and a head."""
    directory.mkdir()
    onnx_models.write(directory / "network.onnx")
    half = [0.5, 0.5, 0.5]
    runs.write(
        directory / graph_config.PREPROCESSOR,
        {"image_mean": half, "image_std": half, "resample": 3}
        | {"size": {"shortest_edge": 50}, "crop_size": 40},
    )
    head.write_head(directory, probes.make_head(4))


def _write_teacher(directory: pathlib.Path) -> None:
    """Writes the facts of a classifier; `images.prepare` writes its model."""
    image = presets.tiny().image
    evaluation = {"num_examples": 4, "num_correct": 2, "cross_entropy": 1.0}
    # The network has no weights.
    facts = {"fingerprint": fingerprint(image, _NAMES, []), "class_names": _NAMES}
    facts |= {"temperature": 1.0, "left_out": None, "num_parameters": 0}
    facts |= {"image": dataclasses.asdict(image)}
    facts |= {"evaluation": {**evaluation, "top1": 0.5}}
    runs.write(directory / "classifier.json", facts)
    runs.write(directory / "config.json", _training_config())
    (directory / "checkpoints").mkdir()
    arrays = {"step": np.int64(3), "w": np.arange(99, dtype=np.float32)}
    checkpoint.Checkpoints(directory / "checkpoints", keep=1).save(3, arrays)


def _write_weights(directory: pathlib.Path) -> None:
    """Writes published weights in each format: `.h5` of Keras 2 and 3, safetensors."""
    directory.mkdir()
    kernel, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)
    safetensors.numpy.save_file({"a": kernel, "b": bias}, directory / "a.safetensors")
    safetensors.numpy.save_file({"names": kernel}, directory / "names.safetensors")
    np.save(directory / "names.npy", kernel)
    with h5py.File(directory / "3.h5", "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = kernel, bias
    with h5py.File(directory / "2.h5", "w") as file:
        file.attrs["layer_names"] = [b"input", b"dense"]
        file.create_group("input").attrs["weight_names"] = []
        file.create_group("dense").attrs["weight_names"] = [b"kernel:0", b"bias:0"]
        file["dense/kernel:0"] = kernel
        file.create_dataset("dense/bias:0", data=bias, chunks=(2,), compression="gzip")


def _training_config() -> dict[str, Any]:
    return {"config": dataclasses.asdict(presets.tiny()), "class_names": _NAMES}


# --- targets ----------------------------------------------------------------------
def targets(root: pathlib.Path) -> list[Target]:
    """Returns the targets; `prepare` writes their files."""
    return [
        *(_target(root, *reader, is_exact=False) for reader in _DOCUMENTS),
        *(_target(root, *reader, is_exact=True) for reader in _TABLES),
    ]


def _target(
    root: pathlib.Path, path: str, name: str, read: Read, *, is_exact: bool
) -> Target:
    @functools.cache
    def undamaged() -> Any:
        return read(root) if is_exact else None

    def check(content: bytes) -> None:
        expected = undamaged()
        with _changed(root / path, content):
            found = read(root)
        assert not is_exact or found == expected, "other values than were written"

    def seeds() -> list[bytes]:
        return [(root / path).read_bytes()]

    changes = {".json": mutations.change_json, ".jsonl": _change_line}
    change = changes.get(pathlib.PurePath(path).suffix, mutations.change_bytes)
    if path.endswith("COMPLETED"):
        change = mutations.change_json
    quick = 3 if name in ("verify", "report") or path.endswith(".h5") else 50
    return Target(f"{path} {name}", seeds, change, check, str(root / path), quick)


def _change_line(random: Random, seeds: Sequence[bytes]) -> bytes:
    lines = seeds[0].splitlines(keepends=True)
    at = random.randrange(len(lines))
    lines[at] = mutations.change_json(random, [lines[at]]) + b"\n"
    return b"".join(lines)


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


# --- readers ----------------------------------------------------------------------
def _predictions(root: pathlib.Path) -> Any:
    return open_predictions(str(root / "chain" / "predictions"))


def _decide(root: pathlib.Path) -> None:
    predictions = _predictions(root)
    selected = decision.open_selection(str(root / "chain" / "selection"), predictions)
    rows = schema.read_table(predictions.path(0), decision.COLUMNS)
    decision.count_copies(rows, selected)


def _resume(root: pathlib.Path) -> None:
    artifact.start_or_resume(root / "teacher", _training_config())


def _match(root: pathlib.Path) -> Any:
    source = open_source(chain.Chain(root / "chain").images)
    directory = root / "chain" / "predictions"
    return shard_manifest.match(source, directory, allow_new_shards=False).shards


def _read_shards(root: pathlib.Path) -> Any:
    directory = root / "chain" / "predictions"
    return [shard_manifest.read_shard(directory, index) for index in range(3)]


def _match_predictions(root: pathlib.Path) -> None:
    made = chain.Chain(root / "chain")
    shard_manifest.match_predictions(open_source(made.images), made.predictions)


def _verify(root: pathlib.Path) -> Any:
    spoiling.verify(chain.Chain(root / "chain"))
    return (root / "chain" / "dataset" / records.shard_name(1, 6)).read_bytes()


def _open_dataset(root: pathlib.Path) -> None:
    open_source(f"tfds:{root}/chain/dataset:train").labeled_class_names()


def _propagation(root: pathlib.Path) -> propagation.PropagationJob:
    request = propagation.PropagationRequest(
        predictions=str(root / "features"), labeled=str(root / "labeled")
    )
    job = propagation.plan(request, output=str(root / "begun"))
    return dataclasses.replace(job, output=str(root / "propagated"))


def _features(root: pathlib.Path, name: str) -> Any:
    images = open_predictions(str(root / name))
    rows = passes.read_rows(images, 0, with_labels=images.has_true_labels)
    return [block.tobytes() for block in rows]


def _spread(root: pathlib.Path, name: str) -> Any:
    job = _propagation(root)
    return passes._read_spread(job.landmarks.parent / name, job).tobytes()


def _temperature(root: pathlib.Path) -> None:
    directory = root / "round-1" / "calibration"
    assert calibration_files.read_temperature(directory, teachers=["t"]) > 0


def _decide_rounds(root: pathlib.Path) -> None:
    accuracies, count = rounds.read_accuracies(root)
    compared = rounds.compare_rounds(accuracies)
    list(rounds.format_decision(rounds.to_json(compared, None, num_images=count)))


def _read_thresholds(root: pathlib.Path) -> None:
    thresholds.read_class_thresholds(str(root / "thresholds.json"), _NAMES, default=0.5)


def _what_if(root: pathlib.Path) -> None:
    directory = root / "chain" / "selection"
    chosen = decision.read_selection(directory).settings
    list(what_if.format_table(what_if.read_table(directory) or (), chosen))


def _calibration(root: pathlib.Path) -> Any:
    return _lists(precision.read_calibration(root / "round-1" / "calibration"))


def _evaluated(root: pathlib.Path) -> Any:
    path = root / "round-1" / "evaluation" / "evaluation.parquet"
    return _lists(run_files.read_evaluated(path))


def _checkpoint(root: pathlib.Path) -> Any:
    (path,) = (root / "teacher" / "checkpoints").iterdir()
    return {name: value.tolist() for name, value in checkpoint.read(path).items()}


def _hdf5(root: pathlib.Path, name: str) -> None:
    path = root / "weights" / name
    files.read_hdf5(str(path), files.read(str(path), path))


def _safetensors(root: pathlib.Path) -> None:
    path = root / "weights" / "a.safetensors"
    files.read_safetensors(str(path), files.read(str(path), path))


def _class_embeddings(root: pathlib.Path, name: str) -> Any:
    path = str(root / "weights" / name)
    return zero_shot.make_head(
        zero_shot.read_class_embeddings(path, num_classes=2, size=3)
    )


def _lists(columns: Any) -> Any:
    arrays = {k: v for k, v in vars(columns).items() if isinstance(v, np.ndarray)}
    return {name: values.tolist() for name, values in arrays.items()}


def _dropped(root: pathlib.Path) -> Any:
    columns = ["record_index", "reason"]
    return near_duplicates.read_dropped_rows(root / "chain/selection", 1, columns)


def _rows(root: pathlib.Path, columns: Sequence[str]) -> Any:
    path = root / "chain" / "predictions" / _SHARD
    return schema.read_table(path, columns), schema.read_facts(path)


def _licenses(root: pathlib.Path) -> licenses.Ledger:
    return licenses.read(root / "round-1" / "student")


def _onnx(root: pathlib.Path) -> Any:
    return onnx_file.read_model(root / "probe" / "network.onnx")


def _graph_settings(root: pathlib.Path) -> Any:
    return graph_config.read_settings(root / "probe", ["image.size=40"])


def _head(root: pathlib.Path) -> Any:
    content = (root / "probe" / head.HEAD).read_bytes()
    facts = ClassifierFacts(
        fingerprint="f",
        class_names=("a", "b", "c"),
        image=presets.tiny().image,
        head=artifact.fingerprint([content]),
    )
    return head.read_head(root / "probe", facts)


#: A file, the name of what reads it, and that.
_DOCUMENTS: tuple[tuple[str, str, Read], ...] = (
    ("chain/predictions/config.json", "open", _predictions),
    ("chain/predictions/config.json", "match", _match_predictions),
    ("chain/predictions/config.json", "verify", _verify),
    ("chain/selection/selection.json", "decide", _decide),
    ("chain/selection/what_if.json", "print", _what_if),
    ("chain/dataset/inputs.json", "verify", _verify),
    ("chain/dataset/config.json", "verify", _verify),
    ("chain/dataset/dataset_info.json", "verify", _verify),
    ("chain/dataset/dataset_info.json", "open", _open_dataset),
    ("chain/dataset/features.json", "open", _open_dataset),
    ("round-1/calibration/calibration.json", "temperature", _temperature),
    ("round-1/calibration/calibration.json", "precision", _calibration),
    ("round-1/calibration/calibration.json", "rounds", _decide_rounds),
    ("round-1/calibration/config.json", "rounds", _decide_rounds),
    ("round-1/selection/selection.json", "report", write_report.report_on),
    ("round-1/predictions/config.json", "report", write_report.report_on),
    ("round-1/dataset/dataset_info.json", "report", write_report.report_on),
    ("round-1/evaluation/evaluation.json", "report", write_report.report_on),
    ("round-1/student/classifier.json", "report", write_report.report_on),
    ("round-1/student/config.json", "report", write_report.report_on),
    ("round-1/student/licenses.json", "report", write_report.report_on),
    ("round-1/student/licenses.json", "inherit", _licenses),
    ("round-1/student/metrics.jsonl", "report", write_report.report_on),
    ("round-1/student/COMPLETED", "report", write_report.report_on),
    ("control/config.json", "report", write_report.report_on),
    ("run.toml", "run", lambda root: reading.read_run(str(root))),
    (
        "choice/choice.json",
        "run",
        lambda root: running.read_choice(RunConfig(output=str(root))),
    ),
    (
        "stages/control.json",
        "compare",
        lambda root: receipts.find_status(_STAGE, str(root), _source_files(root)),
    ),
    ("report.json", "seeds", lambda root: write_report.compare([root], root / "_")),
    (
        "round-1/student/metrics.jsonl",
        "resume",
        lambda root: metrics.read(root / "round-1/student"),
    ),
    ("teacher/config.json", "resume", _resume),
    ("teacher/config.json", "recipe", lambda root: read_run(root / "teacher")),
    (
        "teacher/classifier.json",
        "open",
        lambda root: saved_model.read_ensemble_facts([root / "teacher"]),
    ),
    (
        "teacher/export/saved_model.pb",
        "open",
        lambda root: saved_model.read_ensemble_facts([root / "teacher"]),
    ),
    ("probe/network.onnx", "open", _onnx),
    (f"probe/{graph_config.PREPROCESSOR}", "open", _graph_settings),
    (f"probe/{head.HEAD}", "open", _head),
    ("thresholds.json", "thresholds", _read_thresholds),
    ("weights/a.safetensors", "weights", _safetensors),
    *(
        (
            f"weights/{name}",
            "classes",
            functools.partial(_class_embeddings, name=name),
        )
        for name in ("names.safetensors", "names.npy")
    ),
    ("weights/2.h5", "weights", functools.partial(_hdf5, name="2.h5")),
    ("weights/3.h5", "weights", functools.partial(_hdf5, name="3.h5")),
)
#: The same for files whose values must be those that were written.
_TABLES: tuple[tuple[str, str, Read], ...] = (
    (
        f"chain/predictions/{_SHARD}",
        "rows",
        lambda root: _rows(root, schema.schema().names),
    ),
    (
        f"chain/predictions/{_SHARD}",
        "columns",
        lambda root: _rows(root, decision.COLUMNS),
    ),
    (f"chain/predictions/{_SHARD}", "open", _predictions),
    ("chain/predictions/shards.list", "shards", _read_shards),
    ("chain/predictions/shards.list", "match", _match),
    (f"chain/selection/dropped/{_SHARD}", "dropped", _dropped),
    ("round-1/evaluation/evaluation.parquet", "report", _evaluated),
    ("round-1/calibration/calibration.parquet", "precision", _calibration),
    (
        "round-1/samples/samples.parquet",
        "samples",
        lambda root: tiles.read_samples(root / "round-1/samples"),
    ),
    (f"chain/dataset/{records.shard_name(1, 6)}", "verify", _verify),
    *(
        (
            f"{name}/{schema.shard_name(0)}",
            "features",
            functools.partial(_features, name=name),
        )
        for name in ("features", "labeled")
    ),
    *(
        (f"propagated/cells/{name}", "spread", functools.partial(_spread, name=name))
        for name in ("unit-00000.parquet", "landmarks.parquet")
    ),
    ("teacher/checkpoints/step-00000003.npz", "read", _checkpoint),
)
