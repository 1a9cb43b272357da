"""The dataset's card: `README.md`, for a reader who does not know the project.

It holds no times and paths, so that equal datasets have equal cards.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pseudo_label.dataset import records
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection.decision import Selection
from stage import hub_metadata, markdown
from stage.licenses import Ledger
from stage.setting_paths import flatten

#: Maximum number of values of a setting to list; of longer lists, the length is shown.
_MAX_VALUES = 10


def make_card(
    selection: Selection,
    predictions: PredictionSet,
    *,
    round_number: int,
    num_shards: int,
    num_bytes: int,
    ledger: Ledger | None = None,
) -> str:
    """Returns the card, as Markdown.

    Args:
        selection: Selection of the images.
        predictions: Predictions that the selection was made from.
        round_number: Round of self-training, from 1 on.
        num_shards: Number of record files.
        num_bytes: Size of all record files in bytes.
        ledger: Licenses of images and teachers; None for a dataset of an earlier
            version, whose card does not list them.
    """
    return _metadata(selection, ledger) + markdown.render(
        "pseudo_label.dataset",
        "card.md",
        selection=selection,
        settings={
            path: _format_value(value)
            for path, value in flatten(dataclasses.asdict(selection.settings))
        },
        predictions=predictions,
        round=round_number,
        num_shards=num_shards,
        num_bytes=num_bytes,
        records=records,
        wire_types=records.wire_types(top_k=predictions.top_k),
        ledger=ledger,
    )


def _metadata(selection: Selection, ledger: Ledger | None) -> str:
    return hub_metadata.front_matter(
        {
            **hub_metadata.license_fields(ledger),
            "pretty_name": "Pseudo-labeled images",
            "task_categories": ["image-classification"],
            "tags": ["noisy-student", "pseudo-labels", "tfrecord"],
            "source_datasets": hub_metadata.repositories(ledger, "images"),
            "size_categories": [_size_category(selection.funnel.records)],
        }
    )


def _size_category(records: int) -> str:
    """Returns the hub's name of the range that a number of records is in."""
    ends = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B")
    place = min(max(0, len(str(records)) - 3), len(ends) - 1)
    return f"{ends[place - 1]}<n<{ends[place]}" if place else f"n<{ends[0]}"


def _format_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        if len(value) > _MAX_VALUES:
            return f"{len(value):,} values"
        return ", ".join(map(_format_value, value))
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
