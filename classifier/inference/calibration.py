"""Calibration of teachers on labeled images that they were not trained on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath

from classifier.data import folds, inspection, python_reader
from classifier.data.class_names import check_same_classes
from classifier.data.examples import key_text
from classifier.data.sources import Source, has_same_files
from classifier.export.facts import LeftOut
from classifier.export.saved_model import read_ensemble_facts
from classifier.inference import temperature_scaling
from classifier.inference.ensemble import BATCH_SIZE, Ensemble
from classifier.inference.evaluation import is_right
from classifier.inference.probabilities import mean_probabilities
from classifier.inference.temperature_scaling import LabeledLogits
from stage import artifact, parquet, typed_json
from stage.calibration_files import (
    CALIBRATION,
    CALIBRATION_ROWS,
    HELD_OUT,
    OUT_OF_FOLD,
    SCHEMA_VERSION,
)

SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),
        ("confidence", pa.float32()),
        ("fold", pa.int32()),
    ]
)


@dataclasses.dataclass(frozen=True)
class CalibrationPart:
    """Labeled images, and teachers that were trained on none of them.

    Attributes:
        images: Source of the images.
        teachers: Directories of the teachers.
        fold: Fold that the teachers left out; None for held-out images.
    """

    images: Source
    teachers: tuple[str, ...]
    fold: int | None = None


@dataclasses.dataclass(frozen=True)
class PartPredictions(LabeledLogits):
    """Logits of a part's teachers for its N images that could be decoded.

    Attributes:
        keys: N keys.
        fold: Fold of the part.
        num_undecodable: Number of the other images.
    """

    keys: list[str]
    fold: int | None
    num_undecodable: int


def plan(
    teachers: Sequence[str], *, held_out: Source | None, out_of_fold: Source | None
) -> tuple[dict[str, Any], list[CalibrationPart]]:
    """Returns the config of a calibration, and which teachers predict which images.

    Args:
        teachers: Directories of the classifiers that will label as one ensemble.
        held_out: Images that no teacher was trained on; all of them predict each.
        out_of_fold: Images of which each teacher left out a fold; an image is predicted
            by the teachers that left out its fold.

    Raises:
        ValueError: If not exactly one source is given, a teacher was trained on images
            it would predict, or no teacher left out some fold.
        FileNotFoundError: If there is no such teacher.
    """
    source = held_out or out_of_fold
    if source is None or (held_out and out_of_fold):
        given = "neither" if source is None else "both"
        raise ValueError(f"expected one of --held_out and --out_of_fold, got {given}")
    facts = read_ensemble_facts(teachers)
    class_names = facts[0].class_names
    check_same_classes(class_names, source.labeled_class_names(), source.spec)
    source = inspection.inspect(source, for_training=out_of_fold is not None)
    if held_out:
        kind, parts = HELD_OUT, [_plan_held_out(teachers, source)]
    else:
        left_out = [member.left_out for member in facts]
        kind, parts = OUT_OF_FOLD, _plan_out_of_fold(teachers, left_out, source)
    config = {
        "teachers": [member.fingerprint for member in facts],
        "kind": kind,
        "labeled": source.describe(),
        "class_names": class_names,
    }
    return config, parts


@dataclasses.dataclass(frozen=True, kw_only=True)
class _TrainedOn:
    """What is read of a teacher's `config.json`: descriptions of its images."""

    labeled: dict[str, Any] | None = None
    left_out: LeftOut | None = None


def _plan_held_out(teachers: Sequence[str], source: Source) -> CalibrationPart:
    for teacher in teachers:
        trained = typed_json.read(epath.Path(teacher) / artifact.CONFIG, _TrainedOn)
        left_out = trained.left_out.labeled if trained.left_out else None
        for images in (trained.labeled, left_out):
            if has_same_files(images, source.describe()):
                raise ValueError(_describe_overlap(teacher, images or {}, source))
    return CalibrationPart(source, tuple(teachers))


def _describe_overlap(teacher: str, images: dict[str, Any], source: Source) -> str:
    expected = "--held_out expects images that no teacher was trained on"
    # Teachers of earlier versions do not say what the images were.
    if images.get(artifact.CONTENT, source.content) == source.content:
        return (
            f"{teacher} was trained on {source.spec}: {expected}; for images of which "
            "each teacher left out a fold, give --out_of_fold"
        )
    # Perhaps only labels were corrected.
    return (
        f"{teacher} was trained on files with the names of those of {source.spec}: "
        f"{expected}; if these are other images, give their files other names"
    )


def _plan_out_of_fold(
    teachers: Sequence[str], left_out: Sequence[LeftOut | None], source: Source
) -> list[CalibrationPart]:
    by_fold: dict[int, list[str]] = {}
    counts = set()
    for teacher, fold in zip(teachers, left_out, strict=True):
        if fold is None:
            raise ValueError(
                f"{teacher} has left out no fold: expected teachers trained with "
                "--folds and --fold"
            )
        if not has_same_files(fold.labeled, source.describe()):
            raise ValueError(
                f"{teacher} was not trained on {source.spec}: expected the source that "
                "was its --labeled"
            )
        # Teachers of earlier versions do not say what the images were.
        if (fold.labeled or {}).get(artifact.CONTENT, source.content) != source.content:
            raise ValueError(
                f"{source.spec}: images or labels have changed since {teacher} was "
                "trained on them; restore them, or train the teachers again"
            )
        counts.add(fold.folds)
        by_fold.setdefault(fold.fold, []).append(teacher)
    if len(counts) > 1:
        raise ValueError(f"expected teachers of the same --folds, got {sorted(counts)}")
    (num_folds,) = counts
    missing = sorted(set(range(num_folds)) - by_fold.keys())
    if missing:
        raise ValueError(
            f"expected a teacher for each of {num_folds} folds, none has left out "
            f"fold {missing[0]}"
        )
    fold_of = folds.assign_source(source, num_folds)
    return [
        CalibrationPart(
            source.subset([of_file == fold for of_file in fold_of]),
            tuple(by_fold[fold]),
            fold,
        )
        for fold in sorted(by_fold)
    ]


def predict(part: CalibrationPart) -> PartPredictions:
    """Returns the predictions of a part's teachers for its images."""
    ensemble = Ensemble(part.teachers)
    num_classes = len(ensemble.class_names)
    keys: list[str] = []
    labels: list[int] = []
    logits = [np.zeros((len(part.teachers), 0, num_classes), np.float32)]
    count = 0
    source = part.images
    for batch in python_reader.read_batches(source.reader, source.files, BATCH_SIZE):
        decoded = ensemble.decode(batch)
        of_batch = ensemble.logits(decoded)
        is_finite = np.isfinite(of_batch).all(axis=(0, 2))
        logits.append(of_batch[:, is_finite])
        for row in np.array(decoded.good, int)[is_finite]:
            example = batch[row]
            keys.append(key_text(example.key))
            labels.append(example.label)
        count += len(batch)
    return PartPredictions(
        np.concatenate(logits, axis=1),
        np.array(labels, np.int32),
        keys,
        part.fold,
        count - len(keys),
    )


def write(
    output: epath.PathLike, config: dict[str, Any], predicted: Sequence[PartPredictions]
) -> dict[str, Any]:
    """Fits the temperature; writes `calibration.parquet` and `calibration.json`.

    Returns the content of `calibration.json`. Raises ValueError if there is no image.
    """
    parts = [part for part in predicted if part.keys]
    if not parts:
        raise ValueError("expected images that can be decoded, got none")
    temperature, reason = temperature_scaling.fit_temperature(parts)
    temperatures = {"before": 1.0, "after": temperature}
    tables = {when: rows(predicted, value) for when, value in temperatures.items()}
    table = tables["after"]
    path = epath.Path(output)
    parquet.write_parquet_file(path / CALIBRATION_ROWS, table)
    facts = {
        "schema_version": SCHEMA_VERSION,
        "kind": config["kind"],
        "rows": hashlib.sha256((path / CALIBRATION_ROWS).read_bytes()).hexdigest(),
        "teachers": config["teachers"],
        "class_names": config["class_names"],
        "num_images": len(table),
        "num_undecodable": sum(part.num_undecodable for part in predicted),
        "temperature": temperature,
        "temperature_reason": reason,
        "accuracy": float(is_right(table).mean()),
        "negative_log_likelihood": {
            when: temperature_scaling.negative_log_likelihood(parts, value)
            for when, value in temperatures.items()
        },
        "calibration_error": {
            when: temperature_scaling.calibration_error(
                at_temperature["confidence"].to_numpy(), is_right(at_temperature)
            )
            for when, at_temperature in tables.items()
        },
    }
    artifact.write_json(path / CALIBRATION, facts)
    return facts


def rows(predicted: Sequence[PartPredictions], temperature: float) -> pa.Table:
    """Returns key, label, predicted class, confidence and fold of every image."""
    tables = []
    for part in predicted:
        temperatures = [temperature] * len(part.logits)
        probabilities = mean_probabilities(part.logits, temperatures)
        columns = [
            part.keys,
            part.labels,
            probabilities.argmax(axis=1).astype(np.int32),
            probabilities.max(axis=1),
            pa.array([part.fold] * len(part.keys), pa.int32()),
        ]
        tables.append(pa.table(columns, schema=SCHEMA))
    return pa.concat_tables(tables).combine_chunks()


def describe(facts: dict[str, Any]) -> list[str]:
    """Returns the content of `calibration.json` as lines of text."""
    kind = facts["kind"].replace("_", " ")
    undecodable = facts["num_undecodable"]
    bad = f" ({undecodable} undecodable)" if undecodable else ""
    error = facts["calibration_error"]
    reason = facts["temperature_reason"]
    why = f": {reason}" if reason else ""
    after = "" if reason else f" -> {error['after']:.2%}"
    return [
        f"{facts['accuracy']:.2%} of {facts['num_images']:,} images {kind}{bad} right",
        f"temperature {facts['temperature']}{why}, "
        f"calibration error {error['before']:.2%}{after}",
    ]
