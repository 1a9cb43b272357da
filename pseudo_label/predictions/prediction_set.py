"""Directories of predictions, opened and checked by the jobs after labeling."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from etils import epath
from numpy.typing import NDArray

from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.schema import NeighborAgreement, ShardFacts
from stage import artifact, parquet, shard_list, typed_json
from stage.system import read_in_parallel
from stage.typed_json import ClassName, Count, Positive, PositiveCount

SUMMARY = "summary.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSet:
    """A complete directory of predictions.

    Attributes:
        directory: Path of the directory.
        fingerprint: Hash of the labeling run's config and of all columns of all files;
            of the config alone if the files have no checksums.
        teachers: Fingerprints of the classifiers.
        class_names: K names by label.
        temperature: Divisor of the logits.
        top_k: Number of top classes stored for each image.
        num_shards: Number of files, one for each input shard.
        num_images: Number of rows in all files.
        embedding_size: Number of features of each image; 0 if none are stored.
        has_embedding_norms: Whether the lengths of the features are stored.
        features: Fingerprint of what the features are computed with; empty if unknown.
        has_true_labels: Whether the labels of the images are stored.
    """

    directory: str
    fingerprint: str
    teachers: tuple[str, ...]
    class_names: tuple[str, ...]
    temperature: float
    top_k: int
    num_shards: int
    num_images: int
    embedding_size: int = 0
    has_embedding_norms: bool = False
    features: str = ""
    has_true_labels: bool = False

    @property
    def even_share(self) -> int:
        """Images per class if all classes were equally frequent, at least 1."""
        return max(1, self.num_images // len(self.class_names))

    def has_features_of(self, other: PredictionSet) -> bool:
        """Whether images have the same pixels and features in both.

        A head on the same features is another teacher.
        """
        is_known = bool(self.features) and self.features == other.features
        return is_known or self.teachers == other.teachers

    def check_features(self) -> None:
        """Raises ValueError unless the features of one known network are stored."""
        if not (self.embedding_size and self.has_embedding_norms):
            raise ValueError(
                f"{self.directory} has no embeddings with their lengths; label the "
                "images again with label_images --embeddings and one --teacher"
            )
        if not self.features:
            raise ValueError(
                f"{self.directory} does not say whose its embeddings are; label the "
                "images again, with a teacher that this version has made"
            )

    def path(self, index: int) -> epath.Path:
        """Returns the file of an input shard."""
        return epath.Path(self.directory) / prediction_schema.shard_name(index)

    def read_shards(self) -> bytes:
        """Returns the frozen list of shards, a file.

        Raises ValueError if it is missing, broken, or of another number of shards.
        """
        path = shard_list.find(self.directory)
        if not path.exists():
            raise ValueError(_missing(path))
        found = len(pc.unique(parquet.read_parquet_file(path, ["shard"])["shard"]))
        if found != self.num_shards:
            raise ValueError(f"{path}: expected {self.num_shards} shards, got {found}")
        return path.read_bytes()

    def read_keys(self, shards: NDArray[Any], rows: NDArray[Any]) -> list[str]:
        """Returns the keys of N predictions, given their input shards and positions.

        Meant for a few rows: it reads the keys of each whole shard.
        """
        keys = np.empty(len(shards), object)
        for shard in np.unique(shards).tolist():
            at = np.flatnonzero(shards == shard)
            column = prediction_schema.read_table(self.path(shard), ["key"])["key"]
            keys[at] = column.take(rows[at]).to_pylist()
        return list(keys)


def teacher_fingerprint(teachers: Sequence[str]) -> str:
    """Returns the fingerprint of the one teacher, or a hash of several ones."""
    if len(teachers) == 1:
        return teachers[0]
    return artifact.fingerprint(teacher.encode() for teacher in teachers)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledImages:
    """The images of a labeling job, as far as other stages read their description."""

    num_shards: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelingFacts:
    """What other stages read of a labeling job's `config.json`.

    Attributes:
        images: The images.
        teachers: Fingerprints of the teachers.
        class_names: K names by label.
        top_k: Number of top classes of each row, at least 1.
        temperature: Temperature of the confidences.
        embedding_size: Number of features of each row; 0 for no such column.
        has_embedding_norms: Whether rows have the length of the features.
        features: Fingerprint of the teacher's features, stored or not; empty for
            several teachers, or one of an earlier version.
        has_true_labels: Whether rows have the label of the source.
    """

    images: LabeledImages
    teachers: tuple[str, ...]
    class_names: tuple[ClassName, ...]
    top_k: PositiveCount = 1
    temperature: Positive = 1.0
    embedding_size: Count = 0
    has_embedding_norms: bool = False
    features: str = ""
    has_true_labels: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelingSummary:
    """What other stages read of a labeling job's `summary.json`.

    Attributes:
        checksums: `ShardFacts.checksum` of each file; empty in earlier versions.
        agreement: Agreement of teacher and spread labels; None if none were spread.
    """

    checksums: tuple[str, ...] = ()
    agreement: NeighborAgreement | None = None


def open_predictions(directory: str) -> PredictionSet:
    """Returns the predictions that a labeling job has written.

    Raises:
        FileNotFoundError: If there is no such directory.
        ValueError: If it is not complete, or a file is missing, unknown, of another
            labeling run, or not the one that was labeled.
    """
    path = artifact.require_complete(directory, "predictions")
    config = artifact.read_config(path)
    if "teachers" not in config:
        raise ValueError(
            f"{directory} holds no predictions: no teachers in {artifact.CONFIG}"
        )
    labeling = typed_json.read(path / artifact.CONFIG, LabelingFacts)
    predictions = PredictionSet(
        directory=directory,
        fingerprint=artifact.config_fingerprint(config),
        teachers=labeling.teachers,
        class_names=labeling.class_names,
        temperature=labeling.temperature,
        top_k=labeling.top_k,
        num_shards=labeling.images.num_shards,
        num_images=0,
        embedding_size=labeling.embedding_size,
        has_embedding_norms=labeling.has_embedding_norms,
        features=labeling.features,
        has_true_labels=labeling.has_true_labels,
    )
    # Rows do not depend on the path of the images, so their fingerprint leaves it out.
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    paths = _list_shards(predictions)
    facts = read_in_parallel(
        functools.partial(_read_facts, fingerprint=fingerprint), paths
    )
    _check_summary(predictions, facts)
    num_images = sum(shard.num_rows for shard in facts)
    predictions = dataclasses.replace(predictions, num_images=num_images)
    checksums = [shard.checksums for shard in facts]
    if not any(checksums):
        return predictions
    content = artifact.fingerprint([predictions.fingerprint.encode(), *checksums])
    return dataclasses.replace(predictions, fingerprint=content)


def _read_facts(path: epath.Path, fingerprint: str) -> ShardFacts:
    try:
        facts = prediction_schema.read_facts(path)
    except FileNotFoundError as error:
        raise ValueError(_missing(path)) from error
    if facts.fingerprint != fingerprint:
        raise ValueError(
            f"{path} is of another labeling run: expected {fingerprint[:12]}, got "
            f"{typed_json.shown(facts.fingerprint[:12])}"
        )
    return facts


def _list_shards(predictions: PredictionSet) -> list[epath.Path]:
    """Returns the files of all shards; ValueError unless there are these and no other.

    As many names are made as there are files, whatever number the config claims.
    """
    found = prediction_schema.list_files(predictions.directory)
    shards = []
    for path in map(predictions.path, range(predictions.num_shards)):
        if path.name not in found:
            raise ValueError(_missing(path))
        shards.append(found.pop(path.name))
    for name in sorted(found):
        raise ValueError(
            f"{epath.Path(predictions.directory) / name} belongs to none of the "
            f"{predictions.num_shards} shards; delete it"
        )
    return shards


def read_new_facts(
    predictions: PredictionSet, output: epath.PathLike, *, fingerprint: str
) -> list[ShardFacts]:
    """Returns the facts of the files that a job has made of each of the predictions.

    Raises the errors of `prediction_schema.read_own_facts`.
    """
    before, after = map(prediction_schema.list_files, (predictions.directory, output))

    def read(index: int) -> ShardFacts:
        name = prediction_schema.shard_name(index)
        old = before.get(name) or predictions.path(index)
        return prediction_schema.read_own_facts(
            after.get(name) or epath.Path(output) / name,
            fingerprint=fingerprint,
            shard=prediction_schema.read_facts(old).shard,
        )

    return read_in_parallel(read, range(predictions.num_shards))


def _missing(path: epath.Path) -> str:
    return (
        f"predictions are missing: {path}; delete {artifact.COMPLETED} beside it, and "
        "label again"
    )


def _check_summary(predictions: PredictionSet, facts: Sequence[ShardFacts]) -> None:
    """Checks that the files are those that the labeling job has counted."""
    path = epath.Path(predictions.directory) / SUMMARY
    if not path.exists():
        return
    expected = typed_json.read(path, LabelingSummary).checksums
    found = [shard.checksum for shard in facts]
    if not expected or list(expected) == found:
        return
    names = [
        prediction_schema.shard_name(index)
        for index, pair in enumerate(itertools.zip_longest(expected, found))
        if pair[0] != pair[1]
    ]
    raise ValueError(
        f"{predictions.directory}: {typed_json.shorten(', '.join(names))}: not what "
        f"was labeled, as {SUMMARY} says; restore what was exchanged, or delete it and "
        f"{artifact.COMPLETED}, and label again"
    )
