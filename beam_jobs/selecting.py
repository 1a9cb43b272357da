"""The selection job: candidates of each shard, merged, decided once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from beam_jobs import filesystems, runners, sources
from beam_jobs.prediction_set import PredictionSet
from classifier import artifact
from pseudo_label import prediction, select
from pseudo_label.select import Candidates, Selection, SelectionConfig

SELECTION = "selection.json"

filesystems.register()


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
