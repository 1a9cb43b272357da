"""File format of a calibration: what `teacher.calibrate` writes and others read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from etils import epath

from stage import artifact

CALIBRATION = "calibration.json"
#: One row per predicted image.
CALIBRATION_ROWS = "calibration.parquet"
SCHEMA_VERSION = 1
#: Kinds of calibration: the teachers never saw the images, or each left out a fold.
HELD_OUT = "held_out"
OUT_OF_FOLD = "out_of_fold"


def read_temperature(directory: epath.PathLike, *, teachers: Sequence[str]) -> float:
    """Returns the temperature of a calibration of teachers, given by fingerprint."""
    path = artifact.require_complete(directory, "calibration") / CALIBRATION
    if not path.exists():
        raise ValueError(f"{directory} is not a calibration: no {CALIBRATION} in it")
    facts = artifact.read_json(path)
    if facts["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: expected schema_version {SCHEMA_VERSION}, got "
            f"{facts['schema_version']}"
        )
    if facts["teachers"] != list(teachers):
        raise ValueError(
            f"{directory} is of other teachers, or of these in another order: "
            f"expected {_shorten(teachers)}, got {_shorten(facts['teachers'])}"
        )
    return float(facts["temperature"])


def _shorten(fingerprints: Sequence[Any]) -> str:
    return ", ".join(str(fingerprint)[:8] for fingerprint in fingerprints)
