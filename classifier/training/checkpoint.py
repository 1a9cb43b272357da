"""Checkpoints: .npz files of plain arrays, each written atomically.

A run resumes from the newest `step-NNNNNNNN.npz`; `best-NNNNNNNN.npz` has the best
evaluation so far.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

import numpy as np
from etils import epath
from numpy.typing import NDArray

from stage import artifact

Arrays = dict[str, NDArray[np.generic]]
_PATTERN = re.compile(r"^(step|best)-(\d{8})\.npz$")


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, directory: epath.PathLike, *, keep: int) -> None:
        self._directory = epath.Path(directory)
        self._keep = keep

    def steps(self, kind: str = "step") -> list[int]:
        """Returns the steps with a checkpoint of a kind (`step`, `best`), ascending."""
        if not self._directory.exists():
            return []
        matches = [_PATTERN.match(path.name) for path in self._directory.iterdir()]
        return sorted(int(match[2]) for match in matches if match and match[1] == kind)

    def save(self, step: int, arrays: Arrays) -> None:
        """Writes a checkpoint, then deletes all but the newest `keep` of them."""
        self._write("step", step, arrays)
        for old in self.steps()[: -self._keep]:
            self.path(old).unlink()

    def save_best(self, step: int, arrays: Arrays) -> None:
        """Writes the best checkpoint so far, then deletes the previous one."""
        self._write("best", step, arrays)
        for old in self.steps("best"):
            if old != step:
                self.path(old, "best").unlink()

    def path(self, step: int, kind: str = "step") -> epath.Path:
        """Returns the file of a checkpoint."""
        return self._directory / f"{kind}-{step:08d}.npz"

    def load_latest(self) -> tuple[int, Arrays] | None:
        """Returns the newest checkpoint and its step, or None if there is none."""
        steps = self.steps()
        return (steps[-1], read(self.path(steps[-1]))) if steps else None

    def clean(self) -> None:
        """Deletes unfinished files of a killed run."""
        if self._directory.exists():
            artifact.delete_unfinished(self._directory)

    def _write(self, kind: str, step: int, arrays: Arrays) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        artifact.write_bytes(self.path(step, kind), content.getvalue())


def read(path: epath.PathLike) -> Arrays:
    """Returns the arrays in a checkpoint's file."""
    content = io.BytesIO(epath.Path(path).read_bytes())
    with np.load(content, allow_pickle=False) as arrays:
        return dict(arrays)


def check_names(arrays: Arrays, expected: Iterable[str]) -> None:
    """Raises ValueError if a state has other names than expected."""
    different = sorted(arrays.keys() ^ set(expected))
    if different:
        raise ValueError(
            "expected a checkpoint of the same network, got one that differs in "
            f"{different[0]}"
        )
