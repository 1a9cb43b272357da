"""What the training loop needs of a backend."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from classifier.training.checkpoint import Arrays


class Backend(Protocol):
    """State of a run, advanced batch by batch: `backend_tensorflow` or `backend_jax`.

    Either can load a state that the other has returned.
    """

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Updates the state with this process's share of a batch.

        Returns scalar tensors, named as in `metrics.jsonl`.
        """

    def predict(self, images: Any) -> Any:
        """Returns logits [B,K] of the averaged network for uint8 [B,S,S,3]."""

    def arrays(self) -> Arrays:
        """Returns the whole state, by name."""

    def load_arrays(self, arrays: Arrays) -> None:
        """Loads a whole state; raises ValueError if it is of another network."""

    def start_trace(self, directory: str) -> None:
        """Starts to record what host and devices do."""

    def mark(self, step: int) -> contextlib.AbstractContextManager[Any]:
        """Returns a context manager that names a step in the trace."""

    def stop_trace(self) -> None:
        """Waits for the devices, then writes the trace."""
