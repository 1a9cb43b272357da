"""The interface between the training loop and its backends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, Protocol

import keras

from classifier.models.factory import named_variables
from classifier.training.checkpoint import Arrays


class Backend(Protocol):
    """State of a run, advanced by batches: `backend_tensorflow` or `backend_jax`."""

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Updates the state with this process's share of a batch.

        The batch has "image", uint8 [B,S,S,3], "target", float32 [B,K], and the masks
        of `losses.top1`. Returns scalar tensors, named as in `metrics.jsonl`.
        """

    def predict(self, images: Any) -> Any:
        """Returns logits [B,K] of the averaged network for uint8 [B,S,S,3]."""

    def arrays(self) -> Arrays:
        """Returns the whole state, by name."""

    def load_arrays(self, arrays: Arrays) -> None:
        """Loads a state of either backend; ValueError if it is of another network."""

    def start_trace(self, directory: str) -> None:
        """Starts to record what host and devices do."""

    def mark(self, step: int) -> contextlib.AbstractContextManager[Any]:
        """Returns a context manager that names a step in the trace."""

    def stop_trace(self) -> None:
        """Waits for the devices, then writes the trace."""


def names_of(model: keras.Model, variables: Iterable[Any]) -> list[str]:
    """Returns the names of some of a model's variables, see `named_variables`."""
    name_of = {id(variable): name for name, variable in named_variables(model).items()}
    return [name_of[id(variable)] for variable in variables]
