"""A directory of predictions, opened: what the jobs after labeling begin with."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.schema import ShardFacts
from stage import artifact

#: Footers that are read side by side: in a bucket each takes a tenth of a second.
_OPEN_AT_ONCE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSet:
    """A directory of predictions.

    Attributes:
        directory: Where it is.
        fingerprint: Of the labeling run.
        teachers: Fingerprints of the classifiers that labeled.
        class_names: K names by label.
        temperature: Of the confidences.
        top_k: Classes kept of every image.
        num_shards: Files, one for each input shard.
        num_images: Rows of all files.
    """

    directory: str
    fingerprint: str
    teachers: tuple[str, ...]
    class_names: tuple[str, ...]
    temperature: float
    top_k: int
    num_shards: int
    num_images: int

    @property
    def even_share(self) -> int:
        """Images of a class, were all classes equally frequent; at least 1."""
        return max(1, self.num_images // len(self.class_names))

    def path(self, index: int) -> epath.Path:
        """Returns where the predictions for an input shard are."""
        return shard_path(self.directory, index)

    def read_keys(self, shards: NDArray[Any], rows: NDArray[Any]) -> list[str]:
        """Returns the keys of some predictions: of ties, of which there are few.

        Args:
            shards: [N] input shards.
            rows: [N] positions in them.
        """
        keys = np.empty(len(shards), object)
        for shard in np.unique(shards).tolist():
            at = np.flatnonzero(shards == shard)
            column = prediction_schema.read_table(self.path(shard), ["key"])["key"]
            keys[at] = column.take(rows[at]).to_pylist()
        return list(keys)


def shard_path(directory: str, index: int) -> epath.Path:
    """Returns where the predictions for an input shard are."""
    return epath.Path(directory) / prediction_schema.shard_name(index)


def open_predictions(directory: str) -> PredictionSet:
    """Returns what a labeling job has made.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the job has not ended, or a file is missing, of another job, or
            there twice.
    """
    path = artifact.require_complete(directory, "predictions")
    config = artifact.read_json(path / artifact.CONFIG)
    if "teachers" not in config:
        raise ValueError(f"{directory} holds no predictions")
    predictions = PredictionSet(
        directory=directory,
        fingerprint=artifact.config_fingerprint(config),
        teachers=tuple(config["teachers"]),
        class_names=tuple(config["class_names"]),
        temperature=config.get("temperature", 1.0),
        top_k=config["top_k"],
        num_shards=config["images"]["num_shards"],
        num_images=0,
    )
    # Of the rows: what the images are called decides none of them.
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    _refuse_more_files(predictions)

    def read(index: int) -> ShardFacts:
        return _read_facts(predictions.path(index), fingerprint)

    with concurrent.futures.ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        facts = list(pool.map(read, range(predictions.num_shards)))
    _refuse_doubled_files(predictions, facts)
    num_images = sum(shard.num_rows for shard in facts)
    return dataclasses.replace(predictions, num_images=num_images)


def _read_facts(path: epath.Path, fingerprint: str) -> ShardFacts:
    try:
        facts = prediction_schema.read_facts(path)
    except FileNotFoundError as error:
        raise ValueError(f"predictions are missing: {path}") from error
    if facts.fingerprint != fingerprint:
        raise ValueError(f"{path} is of another labeling run")
    return facts


def _refuse_more_files(predictions: PredictionSet) -> None:
    known = {predictions.path(i).name for i in range(predictions.num_shards)}
    for path in epath.Path(predictions.directory).iterdir():
        is_file_of_rows = path.name.startswith("predictions") and (
            path.suffix == ".parquet"
        )
        if is_file_of_rows and path.name not in known:
            raise ValueError(
                f"{path} belongs to none of the {predictions.num_shards} shards"
            )


def _refuse_doubled_files(
    predictions: PredictionSet, facts: Sequence[ShardFacts]
) -> None:
    """Keys are unique, so two files with the same ends of their hashes are the same."""
    seen: dict[tuple[int, int], int] = {}
    for index, shard in enumerate(facts):
        if shard.key_hashes is None:
            continue
        other = seen.setdefault(shard.key_hashes, index)
        if other != index:
            raise ValueError(
                f"{predictions.path(index)} holds the rows of shard {other}: delete "
                f"it and {artifact.COMPLETED} beside it, and label again"
            )
