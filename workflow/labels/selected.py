"""Predictions and the selection made of them, opened to be exported."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pseudo_label.predictions.prediction_set import PredictionSet, open_predictions
from pseudo_label.selection import kept_rows
from pseudo_label.selection.decision import Selection, open_selection
from stage import artifact


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelectedLabels:
    """A selection and its predictions.

    Attributes:
        predictions: The predictions.
        selection: Rule for which images are kept.
        directory: Directory of the selection.
    """

    predictions: PredictionSet
    selection: Selection
    directory: str

    def decide(self, index: int) -> tuple[pa.Table, NDArray[np.int64]]:
        """Returns the rows of an input shard and the records of each, as written."""
        return kept_rows.read_decisions(
            self.predictions, self.selection, self.directory, index
        )


def open_selected(predictions: str, selection: str) -> SelectedLabels:
    """Returns a selection and its predictions, given by their directories.

    Raises the errors of `open_predictions` and `open_selection`.
    """
    found = open_predictions(predictions)
    return SelectedLabels(
        predictions=found,
        selection=open_selection(selection, found),
        directory=selection,
    )


def check_new(output: str) -> None:
    """Raises ValueError if an output exists."""
    if artifact.reach(output).exists():
        raise ValueError(f"{output} already exists; delete it or name another output")
