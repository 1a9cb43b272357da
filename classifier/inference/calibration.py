"""What teachers say about labeled images that they have not learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from numpy.typing import NDArray

from classifier.data import folds, python_reader
from classifier.data.class_names import check_same_classes
from classifier.data.examples import key_text
from classifier.data.sources import Source
from classifier.export.facts import read_ensemble_facts
from classifier.inference import temperature_scaling
from classifier.inference.ensemble import BATCH_SIZE, Ensemble, mean_probabilities
from classifier.inference.temperature_scaling import HELD_OUT, OUT_OF_FOLD, Judged
from stage import artifact

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("label", pa.int32()),
        ("predicted", pa.int32()),
        ("confidence", pa.float32()),
        ("fold", pa.int32()),
    ]
)


@dataclasses.dataclass(frozen=True)
class Part:
    """Labeled images, and teachers that have learned from none of them.

    Attributes:
        images: The images.
        teachers: Directories of the teachers.
        fold: That the teachers left out; None where they were never shown the source.
    """

    images: Source
    teachers: tuple[str, ...]
    fold: int | None = None


@dataclasses.dataclass(frozen=True)
class CalibrationPlan:
    """A calibration that can be made.

    Attributes:
        config: What identifies it.
        parts: What is to be predicted.
    """

    config: dict[str, Any]
    parts: tuple[Part, ...]


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What the teachers of a part say about its images.

    Attributes:
        fold: Of the part.
        keys: [N] of the images that could be decoded.
        judged: Their logits and labels.
        num_undecodable: Of the others.
    """

    fold: int | None
    keys: list[str]
    judged: Judged
    num_undecodable: int


def plan(
    teachers: Sequence[str], *, held_out: Source | None, out_of_fold: Source | None
) -> CalibrationPlan:
    """Returns who is to predict what.

    Args:
        teachers: Directories of the classifiers that will label as one.
        held_out: Images that none of them has learned from; all of them predict each.
        out_of_fold: Images that each has learned from but for a fold; those predict
            an image that have left out its fold.

    Raises:
        ValueError: If not one of the two is given, a teacher has learned from what it
            would predict, or nobody could predict a fold.
        FileNotFoundError: If a teacher is not there.
    """
    if (held_out is None) == (out_of_fold is None):
        raise ValueError("expected one of --held_out and --out_of_fold")
    facts = read_ensemble_facts(teachers)
    class_names = facts[0]["class_names"]
    if held_out is not None:
        kind, source = HELD_OUT, held_out
        parts = [_plan_held_out(teachers, source)]
    elif out_of_fold is not None:
        kind, source = OUT_OF_FOLD, out_of_fold
        left_out = [member.get("left_out") for member in facts]
        parts = _plan_out_of_fold(teachers, left_out, source)
    check_same_classes(class_names, source.labeled_class_names(), source.spec)
    config = {
        "teachers": [member["fingerprint"] for member in facts],
        "kind": kind,
        "labeled": source.describe(),
        "class_names": class_names,
    }
    return CalibrationPlan(config, tuple(parts))


def _plan_held_out(teachers: Sequence[str], source: Source) -> Part:
    for teacher in teachers:
        config = artifact.read_json(epath.Path(teacher) / artifact.CONFIG)
        left_out = config.get("left_out") or {}
        if source.describe() in (config.get("labeled"), left_out.get("labeled")):
            raise ValueError(
                f"{teacher} has learned from {source.spec}: expected images that no "
                "teacher was trained on; --out_of_fold is for those of which each "
                "teacher has left out a fold"
            )
    return Part(source, tuple(teachers))


def _plan_out_of_fold(
    teachers: Sequence[str], left_out: Sequence[dict[str, Any] | None], source: Source
) -> list[Part]:
    by_fold: dict[int, list[str]] = {}
    counts = set()
    for teacher, fold in zip(teachers, left_out, strict=True):
        if fold is None:
            raise ValueError(
                f"{teacher} has left out no fold: expected teachers trained with "
                "--folds and --fold"
            )
        if fold["labeled"] != source.describe():
            raise ValueError(
                f"{teacher} was not trained on {source.spec}: expected the source that "
                "was its --labeled"
            )
        counts.add(fold["folds"])
        by_fold.setdefault(fold["fold"], []).append(teacher)
    if len(counts) > 1:
        raise ValueError(f"expected teachers of the same --folds, got {sorted(counts)}")
    missing = sorted(set(range(min(counts))) - by_fold.keys())
    if missing:
        raise ValueError(
            f"expected a teacher for each of {min(counts)} folds, none has left out "
            f"fold {missing[0]}"
        )
    dealt = folds.deal(source, min(counts))
    return [
        Part(source.only([one == fold for one in dealt]), tuple(by_fold[fold]), fold)
        for fold in sorted(by_fold)
    ]


def predict(part: Part) -> Predicted:
    """Returns what the teachers of a part say about its images.

    Raises:
        ValueError: If an image has no label in range.
        OSError: On what may pass and did not.
    """
    ensemble = Ensemble(part.teachers)
    num_classes = len(ensemble.class_names)
    keys: list[str] = []
    labels: list[int] = []
    logits = [np.zeros((len(part.teachers), 0, num_classes), np.float32)]
    count = 0
    source = part.images
    for batch in python_reader.read_batches(source.reader, source.files, BATCH_SIZE):
        decoded = ensemble.decode([example.image for example in batch])
        found = ensemble.logits(decoded)
        is_finite = np.isfinite(found).all(axis=(0, 2))
        logits.append(found[:, is_finite])
        good = [batch[row] for row in np.array(decoded.good, int)[is_finite]]
        for example in good:
            key = key_text(example.key)
            if not 0 <= example.label < num_classes:
                raise ValueError(
                    f"{source.spec}: {key}: label {example.label} is not in "
                    f"0..{num_classes - 1}"
                )
            keys.append(key)
            labels.append(example.label)
        count += len(batch)
    judged = Judged(np.concatenate(logits, axis=1), np.array(labels, np.int32))
    return Predicted(part.fold, keys, judged, count - len(keys))


def write(
    output: epath.PathLike, config: dict[str, Any], predicted: Sequence[Predicted]
) -> dict[str, Any]:
    """Fits the temperature, and writes and returns `calibration.json`.

    Beside it, in `calibration.parquet`, stands what the teachers say at the
    temperature about each image.

    Raises:
        ValueError: If there is no image.
    """
    parts = [one.judged for one in predicted if one.keys]
    if not parts:
        raise ValueError("expected images that can be decoded, got none")
    temperature, reason = temperature_scaling.fit_temperature(parts)
    table = rows(predicted, temperature)
    both = {"before": 1.0, "after": temperature}
    tables = {"before": rows(predicted, 1.0), "after": table}
    path = epath.Path(output)
    with (
        artifact.replacing(path / temperature_scaling.ROWS) as temporary,
        temporary.open("wb") as file,
    ):
        pq.write_table(table, file)
    facts = {
        "schema_version": temperature_scaling.SCHEMA_VERSION,
        "kind": config["kind"],
        "teachers": config["teachers"],
        "class_names": config["class_names"],
        "num_images": len(table),
        "num_undecodable": sum(one.num_undecodable for one in predicted),
        "temperature": temperature,
        "temperature_reason": reason,
        "accuracy": float(_is_right(table).mean()),
        "negative_log_likelihood": {
            when: temperature_scaling.negative_log_likelihood(parts, one)
            for when, one in both.items()
        },
        "calibration_error": {
            when: temperature_scaling.calibration_error(
                one["confidence"].to_numpy(), _is_right(one)
            )
            for when, one in tables.items()
        },
    }
    artifact.write_json(path / temperature_scaling.CALIBRATION, facts)
    return facts


def rows(predicted: Sequence[Predicted], temperature: float) -> pa.Table:
    """Returns key, label, predicted class, confidence and fold of every image."""
    tables = []
    for one in predicted:
        logits, labels = one.judged.logits, one.judged.labels
        probabilities = mean_probabilities(logits, [temperature] * len(logits))
        columns = [
            one.keys,
            labels,
            probabilities.argmax(axis=1).astype(np.int32),
            probabilities.max(axis=1),
            pa.array([one.fold] * len(labels), pa.int32()),
        ]
        tables.append(pa.table(columns, schema=_SCHEMA))
    return pa.concat_tables(tables).combine_chunks()


def describe(facts: dict[str, Any]) -> list[str]:
    """Returns what `calibration.json` says, for people."""
    kind = facts["kind"].replace("_", " ")
    undecodable = facts["num_undecodable"]
    bad = f" ({undecodable} undecodable)" if undecodable else ""
    error = facts["calibration_error"]
    reason = facts["temperature_reason"]
    return [
        f"{facts['accuracy']:.2%} of {facts['num_images']:,} images {kind}{bad} right",
        f"temperature {facts['temperature']}"
        + (f": {reason}" if reason else "")
        + f", calibration error {error['before']:.2%}"
        + (f" -> {error['after']:.2%}" if not reason else ""),
    ]


def _is_right(table: pa.Table) -> NDArray[np.bool_]:
    return table["label"].to_numpy() == table["predicted"].to_numpy()
