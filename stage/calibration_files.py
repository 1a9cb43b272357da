"""File format of a calibration: what `teacher.calibrate` writes and others read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from etils import epath

from stage import artifact, typed_json
from stage.text import printable
from stage.typed_json import Positive

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
    found = typed_json.read(path, _Fitted)
    if found.schema_version != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: expected schema_version {SCHEMA_VERSION}, got "
            f"{found.schema_version}"
        )
    if found.teachers != tuple(teachers):
        raise ValueError(
            f"{directory} is of other teachers, or of these in another order: "
            f"expected {_shorten(teachers)}, got {_shorten(found.teachers)}"
        )
    return found.temperature


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fitted:
    """What is read of `calibration.json`: a temperature, and whose it is."""

    schema_version: int
    teachers: tuple[str, ...]
    temperature: Positive


def _shorten(fingerprints: Sequence[str]) -> str:
    return printable(", ".join(fingerprint[:8] for fingerprint in fingerprints)[:80])
