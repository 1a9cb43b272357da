import json

import pytest

from stage import artifact
from stage.calibration_files import CALIBRATION, read_temperature

FACTS = {
    "schema_version": 1,
    "kind": "held_out",
    "teachers": ["abc", "def"],
    "temperature": 1.5,
}


def write(directory, **changes):
    artifact.start_or_resume(directory, {})
    (directory / CALIBRATION).write_text(json.dumps({**FACTS, **changes}))
    artifact.complete(directory, seconds=0)


def test_the_temperature_of_the_teachers_is_read(tmp_path):
    write(tmp_path)
    assert read_temperature(tmp_path, teachers=["abc", "def"]) == 1.5


@pytest.mark.parametrize(
    ("teachers", "changes", "named"),
    [
        (["abc"], {}, "abc, got abc, def"),
        (["def", "abc"], {}, "def, abc, got abc, def"),
        (["abc", "def"], {"schema_version": 2}, "schema_version 1, got 2"),
    ],
)
def test_another_calibration_is_refused(tmp_path, teachers, changes, named):
    write(tmp_path, **changes)
    with pytest.raises(ValueError, match=named):
        read_temperature(tmp_path, teachers=teachers)


def test_other_directories_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        read_temperature(tmp_path / "none", teachers=[])
    with pytest.raises(ValueError, match="COMPLETED"):
        read_temperature(tmp_path, teachers=[])
    artifact.start_or_resume(tmp_path / "other", {})
    artifact.complete(tmp_path / "other", seconds=0)
    with pytest.raises(ValueError, match=r"calibration\.json"):
        read_temperature(tmp_path / "other", teachers=[])
