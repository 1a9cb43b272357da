"""Checkpoints: .npz files of plain arrays, each written atomically.

A run resumes from the newest `step-NNNNNNNN.npz` that can be read;
`best-NNNNNNNN.npz` has the best evaluation so far.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterable

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

    def load_latest(
        self, log: Callable[[str], None] = lambda line: None
    ) -> tuple[int, Arrays] | None:
        """Returns the newest readable checkpoint and its step; None if there is none.

        Logs which ones cannot be read.

        Raises:
            OSError: If a file cannot be opened, whatever its content.
        """
        for step in reversed(self.steps()):
            try:
                return step, read(self.path(step))
            except ValueError as error:
                log(f"{error}; the one before counts")
        return None

    def clean(self, newest: int) -> None:
        """Deletes unfinished files of a killed run, and what is newer than `newest`.

        That could not be read, and would count among those to keep.
        """
        if self._directory.exists():
            artifact.delete_unfinished(self._directory)
        for step in self.steps():
            if step > newest:
                self.path(step).unlink()

    def _write(self, kind: str, step: int, arrays: Arrays) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        artifact.write_bytes(self.path(step, kind), content.getvalue())


def read(path: epath.PathLike) -> Arrays:
    """Returns the arrays in a checkpoint's file; ValueError if it cannot be read."""
    content = epath.Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            _check_members(file, content)
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    # What was cut off or changed raises nearly anything in zipfile and NumPy.
    except Exception as error:
        raise ValueError(f"{path}: expected a checkpoint: {error}") from error


def _check_members(file: zipfile.ZipFile, content: bytes) -> None:
    """Checks that the members fill the file, so that its list of them lacks none."""
    end = 0
    for member in sorted(file.infolist(), key=lambda member: member.header_offset):
        if member.header_offset != end or member.file_size > len(content):
            raise ValueError("a tensor is missing")
        name, extra = struct.unpack_from("<HH", content, end + 26)
        end += 30 + name + extra + member.compress_size
    if end != file.start_dir or not end:
        raise ValueError("a tensor is missing")


def check_names(arrays: Arrays, expected: Iterable[str]) -> None:
    """Raises ValueError if a state has other names than expected."""
    different = sorted(arrays.keys() ^ set(expected))
    if different:
        raise ValueError(
            "expected a checkpoint of the same network, got one that differs in "
            f"{different[0]}"
        )
