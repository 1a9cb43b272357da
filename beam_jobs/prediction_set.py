"""A directory of predictions, opened: what the jobs after labeling begin with."""

from __future__ import annotations

import concurrent.futures
import dataclasses

from etils import epath

from classifier import artifact
from pseudo_label import prediction

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
        return epath.Path(self.directory) / prediction.shard_name(index)


def open_predictions(directory: str) -> PredictionSet:
    """Returns what a labeling job has made.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the job has not ended, or a file is missing.
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

    def count_rows(index: int) -> int:
        return _count_rows(predictions.path(index), fingerprint)

    with concurrent.futures.ThreadPoolExecutor(_OPEN_AT_ONCE) as pool:
        num_images = sum(pool.map(count_rows, range(predictions.num_shards)))
    return dataclasses.replace(predictions, num_images=num_images)


def _count_rows(path: epath.Path, fingerprint: str) -> int:
    try:
        facts = prediction.read_facts(path)
    except FileNotFoundError as error:
        raise ValueError(f"predictions are missing: {path}") from error
    if facts.fingerprint != fingerprint:
        raise ValueError(f"{path} is of another labeling run")
    return facts.num_rows
