"""The selection job: candidates of each shard, merged, decided once."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs import filesystems, runners, sources
from classifier import artifact
from pseudo_label import prediction, select
from pseudo_label.select import Candidates, Selection, SelectionConfig

SELECTION = "selection.json"
#: Footers that are read side by side: in a bucket each takes a tenth of a second.
_OPEN_AT_ONCE = 16

filesystems.register()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionSet:
    """A directory of predictions.

    Attributes:
        directory: Where it is.
        fingerprint: Of the labeling run.
        class_names: K names by label.
        top_k: Classes kept of every image.
        num_shards: Files, one for each input shard.
        num_images: Rows of all files.
    """

    directory: str
    fingerprint: str
    class_names: tuple[str, ...]
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
        class_names=tuple(config["class_names"]),
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


def open_selection(directory: str, predictions: PredictionSet) -> Selection:
    """Returns the selection that was made of some predictions.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not complete, or of other predictions.
    """
    path = artifact.require_complete(directory, "selection")
    if not (path / SELECTION).exists():
        raise ValueError(f"{directory} holds no selection")
    selection = Selection.from_json(artifact.read_json(path / SELECTION))
    if selection.predictions != predictions.fingerprint:
        raise ValueError(
            f"{directory} was selected from other predictions: expected "
            f"{predictions.fingerprint[:12]}, got {selection.predictions[:12]}"
        )
    return selection


def describe(predictions: PredictionSet, settings: SelectionConfig) -> dict[str, Any]:
    """Returns the config of the job's artifact."""
    return {
        "settings": dataclasses.asdict(settings),
        "predictions": predictions.fingerprint,
    }


def run(
    predictions: PredictionSet,
    settings: SelectionConfig,
    options: PipelineOptions,
    *,
    output: str,
) -> None:
    """Writes `selection.json`.

    Raises:
        RuntimeError: If the pipeline fails.
    """

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Shards" >> sources.Shards(predictions.num_shards)
            | "Read" >> beam.FlatMap(_read_shard, predictions)
            | "Find"
            >> beam.Map(
                select.find_candidates,
                settings,
                num_classes=len(predictions.class_names),
            )
            | beam.CombineGlobally(
                _Merge(settings, num_classes=len(predictions.class_names))
            )
            | "Decide" >> beam.Map(_decide, settings, predictions, output)
        )

    runners.run_pipeline(build, options, may_shuffle=True)


def tell(output: str) -> Iterator[str]:
    """Yields the funnel and the thinnest class, for people."""
    selection = Selection.from_json(artifact.read_json(epath.Path(output) / SELECTION))
    for name, count in dataclasses.asdict(selection.funnel).items():
        yield f"{name.replace('_', ' '):>16} {count:>12,}"
    thinnest = min(selection.classes, key=lambda rule: rule.unique)
    yield f"fewest images: class {thinnest.name!r} with {thinnest.unique}"


class _Merge(beam.CombineFn):
    """Merges candidates; what travels is at most K times `images_per_class` rows."""

    def __init__(self, settings: SelectionConfig, *, num_classes: int) -> None:
        self._settings = settings
        self._num_classes = num_classes

    def create_accumulator(self) -> Candidates:
        return self.merge_accumulators([])

    def add_input(self, accumulator: Candidates, part: Candidates) -> Candidates:
        return self.merge_accumulators([accumulator, part])

    def merge_accumulators(self, accumulators: Iterable[Candidates]) -> Candidates:
        return select.merge_candidates(
            accumulators, self._settings, num_classes=self._num_classes
        )

    def extract_output(self, accumulator: Candidates) -> Candidates:
        return accumulator


def _read_shard(index: int, predictions: PredictionSet) -> Iterator[pa.Table]:
    yield from prediction.read_rows(predictions.path(index), select.COLUMNS)


def _decide(
    candidates: Candidates,
    settings: SelectionConfig,
    predictions: PredictionSet,
    output: str,
) -> None:
    selection = select.decide(
        candidates,
        settings,
        class_names=predictions.class_names,
        predictions=predictions.fingerprint,
    )
    artifact.write_json(epath.Path(output) / SELECTION, selection.to_json())
