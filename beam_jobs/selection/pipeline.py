"""The pipeline of the selection job: count, find order statistics, decide once.

Workers count the predictions of their shards into small arrays, which Beam adds up.
The next pass over the predictions reads only the rows near the order statistics that
decide (`pseudo_label.selection.order_statistics`). Only arrays and these rows cross a
shuffle.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsSingleton
from etils import epath
from numpy.typing import NDArray

from beam_jobs.io import filesystems
from beam_jobs.io import shards as io_shards
from beam_jobs.runners import run as runners
from beam_jobs.runners.options import PipelineJob, spread
from beam_jobs.selection import counting, dropping
from beam_jobs.selection.counting import PredictionReader
from beam_jobs.selection.job import SelectionJob
from pseudo_label.deduplication.near_duplicates import DroppedCounts
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection import (
    order_statistics,
    outlook,
    precision,
    thresholds,
    what_if,
)
from pseudo_label.selection import tally as selection_tally
from pseudo_label.selection.decision import (
    SELECTION,
    PrecisionEstimate,
    Selection,
    SelectionConfig,
    read_selection,
)
from pseudo_label.selection.order_statistics import RankWindows, Rows
from pseudo_label.selection.precision import LabeledPredictions
from pseudo_label.selection.tally import Tally
from stage import artifact
from stage.cli import Log
from stage.system import num_cores

#: Predictions per process: another one takes seconds to start.
_ROWS_PER_PROCESS = 4_000_000
#: Maximum number of sparse classes to name in the output.
_MAX_NAMED = 10
filesystems.register()


def run(
    job: SelectionJob,
    options: PipelineOptions,
    argv: Sequence[str] = (),
    *,
    log: Log = lambda line: None,
) -> None:
    """Writes `selection.json` and, if asked for, `what_if.json`.

    `options` were parsed from `argv`.
    """
    units = min(
        job.predictions.num_shards, job.predictions.num_images // _ROWS_PER_PROCESS
    )
    processes = min(units, num_cores() // counting.NUM_THREADS)
    if processes > 1:
        spread(options, argv, units=processes)
    pipeline_job = PipelineJob(
        build=functools.partial(_build, job=job),
        output=job.output,
        prepare=functools.partial(_delete_leftovers, job.output),
        may_shuffle=True,
        units=units,
    )
    runners.run_pipeline(pipeline_job, options, log=log)


def _delete_leftovers(output: str) -> None:
    dropping.delete_dropped(output)
    artifact.delete_unfinished(output)


def format_lines(output: str, predictions: PredictionSet) -> Iterator[str]:
    """Yields lines for the user about the selection in a directory."""
    selection = read_selection(output)
    for name, count in selection.funnel.by_title().items():
        yield f"{name:>16} {count:>12,}"
    if selection.estimate is not None:
        yield f"precision of the labels kept: {selection.estimate.kept}"
    yield from _format_sparse_classes(selection)
    yield str(outlook.read_outlook(selection, predictions.directory))
    cells = what_if.read_table(output)
    if cells is not None:
        yield from what_if.format_table(cells, selection.settings)


def _format_sparse_classes(selection: Selection) -> Iterator[str]:
    sparse = selection.sparse_classes
    for sparse_class in sparse[:_MAX_NAMED]:
        filled = (
            f"a threshold of {sparse_class.filling_threshold:.4g} would fill it"
            if sparse_class.filling_threshold is not None
            else f"no threshold would fill it with {sparse_class.fills:,}: it is "
            f"predicted for {sparse_class.predicted:,}, of which "
            f"{sparse_class.dropped:,} are dropped as leaked or duplicate"
        )
        yield (
            f"sparse class {sparse_class.name!r}: {sparse_class.kept:,} images kept; "
            f"{filled}"
        )
    if len(sparse) > _MAX_NAMED:
        yield f"and {len(sparse) - _MAX_NAMED:,} more sparse classes, see {SELECTION}"


def _build(pipeline: beam.Pipeline, job: SelectionJob) -> None:
    shards = pipeline | "Shards" >> io_shards.Shards(job.predictions.num_shards)
    dropped: Any = Counter()
    if job.drops:
        dropping_job = dropping.DroppingJob(
            predictions=job.predictions,
            excluded=job.excluded,
            bits=job.settings.duplicate_bits,
            similarity=job.settings.duplicate_similarity,
            output=job.output,
            selection=job.fingerprint,
        )
        dropped = AsSingleton(pipeline | "Drop" >> dropping.drop(dropping_job))
    reader = PredictionReader(job.predictions, job.output if job.drops else None)
    config = job.settings.thresholds
    lowest: Any = config.of_classes(len(job.predictions.class_names))
    if config.adaptive:
        learned = shards | "Learned" >> counting.count(reader, lowest, dropped)
        lowest = AsSingleton(learned | "Adapt" >> beam.Map(_adapt, lowest))
    levels = what_if.levels(job.settings) if job.what_if else ()
    tally = shards | "Tally" >> counting.count(reader, lowest, dropped, levels)
    coarse = tally | "Find windows" >> beam.Map(_find_windows, job.settings)
    windows = shards | "Narrow windows" >> counting.find_windows(reader, coarse)
    rows = shards | "Rows" >> counting.take_rows(reader, windows)
    _ = tally | "Decide" >> beam.Map(
        _decide, job, AsSingleton(windows), AsSingleton(rows), dropped
    )


def _adapt(tally: Tally, base: NDArray[np.float32]) -> NDArray[np.float32]:
    return thresholds.adapt(base, tally.confident[:-1])


def _find_windows(tally: Tally, settings: SelectionConfig) -> RankWindows:
    rank = selection_tally.wanted_ranks(tally.confident, settings)
    return order_statistics.find_windows(tally.histogram, rank, tally.bins)


def _decide(
    tally: Tally,
    job: SelectionJob,
    windows: RankWindows,
    rows: Sequence[Rows],
    dropped: DroppedCounts,
) -> None:
    found = order_statistics.find_order_statistics(
        Rows.concatenate(rows), windows, job.predictions.read_keys
    )
    rules = selection_tally.make_rules(
        tally, found, job.settings, job.predictions.class_names
    )
    selection = Selection(
        settings=job.settings,
        predictions=job.predictions.fingerprint,
        funnel=selection_tally.make_funnel(tally, dropped, rules),
        sparse_classes=selection_tally.find_sparse_classes(
            tally, dropped, rules, job.settings
        ),
        classes=rules,
        fingerprint=job.fingerprint,
    )
    if job.calibration is not None:
        estimate = _estimate(job.calibration, selection)
        selection = dataclasses.replace(selection, estimate=estimate)
    if job.what_if:
        cells = what_if.make_table(tally, job.settings, job.calibration)
        what_if.write_table(job.output, cells)
    artifact.write_json(epath.Path(job.output) / SELECTION, selection.to_json())


def _estimate(
    calibration: LabeledPredictions, selection: Selection
) -> PrecisionEstimate:
    above, kept = (
        precision.precision_above(calibration, lowest)
        for lowest in (selection.thresholds, selection.lowest_kept)
    )
    return PrecisionEstimate(kind=calibration.kind, above_threshold=above, kept=kept)
