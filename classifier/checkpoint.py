"""Checkpoints: plain arrays in `step-NNNNNNNN.npz`, whole or not there."""

from __future__ import annotations

import io
import re

import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier import artifact

Arrays = dict[str, NDArray[np.generic]]
_PATTERN = re.compile(r"^step-(\d{8})\.npz$")


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, directory: epath.PathLike, *, keep: int) -> None:
        self._directory = epath.Path(directory)
        self._keep = keep

    def steps(self) -> list[int]:
        """Returns the steps there is a checkpoint of, oldest first."""
        if not self._directory.exists():
            return []
        matches = [_PATTERN.match(path.name) for path in self._directory.iterdir()]
        return sorted(int(match[1]) for match in matches if match)

    def save(self, step: int, arrays: Arrays) -> None:
        """Writes a checkpoint, then deletes all but the newest `keep`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        artifact.write_bytes(self._path(step), content.getvalue())
        for old in self.steps()[: -self._keep]:
            self._path(old).unlink()

    def load_latest(self) -> tuple[int, Arrays] | None:
        """Returns the newest checkpoint and its step, or None if there is none."""
        steps = self.steps()
        if not steps:
            return None
        content = io.BytesIO(self._path(steps[-1]).read_bytes())
        with np.load(content, allow_pickle=False) as arrays:
            return steps[-1], dict(arrays)

    def _path(self, step: int) -> epath.Path:
        return self._directory / f"step-{step:08d}.npz"
