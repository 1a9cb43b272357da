import dataclasses

import pytest

from workflow.samples import tiles
from workflow.samples.tiles import Sample


def make_samples():
    kept = Sample(
        sheet="random",
        position=0,
        key='../<b>"\n\u2028',
        shard=3,
        row=2**40,
        label=7,
        confidence=0.5,
        copies=2,
        reason="",
        thumbnail=b"\xff\xd8",
        twin_key=None,
        twin_thumbnail=None,
    )
    undecodable = dataclasses.replace(
        kept, sheet="undecodable", label=None, confidence=None, thumbnail=None
    )
    return [kept, undecodable]


def test_samples_are_read_as_they_were_written(tmp_path):
    for samples in (make_samples(), []):
        tiles.write_samples(tmp_path, samples)
        assert tiles.read_samples(tmp_path) == samples


def test_missing_and_broken_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        tiles.read_samples(tmp_path)
    (tmp_path / tiles.FILE).write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"samples\.parquet"):
        tiles.read_samples(tmp_path)


def test_the_columns_are_the_attributes():
    names = [field.name for field in dataclasses.fields(Sample)]
    assert tiles.schema().names == names
