import io
import os
import resource
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_jobs.writing import spool
from beam_jobs.writing.spool import Spool, WritingError
from classifier.data import tfrecord
from tests.faults import disks


def frames(contents):
    file = io.BytesIO()
    for content in contents:
        tfrecord.write_record(file, content)
    return file.getvalue()


@given(
    st.lists(st.tuples(st.integers(0, 69), st.integers(0, 3), st.binary(max_size=9)))
)
@settings(deadline=None)  # Opens 64 files.
def test_records_are_read_in_the_order_of_their_keys(records):
    with Spool(70) as held:
        for shard, sort_key, content in records:
            held.append(shard, sort_key, content)
        for shard in {shard for shard, _, _ in records}:
            of_shard = [(key, content) for s, key, content in records if s == shard]
            expected = [content for _, content in sorted(of_shard, key=lambda r: r[0])]
            assert b"".join(held.read(shard)) == frames(expected)


def test_keys_have_64_bits_and_records_any_length():
    contents = {2**64 - 1: b"last", 0: b"", 2**63: bytes(3 * 2**18)}
    with Spool(1) as held:
        for sort_key, content in contents.items():
            held.append(0, sort_key, content)
        expected = [content for _, content in sorted(contents.items())]
        assert b"".join(held.read(0)) == frames(expected)


def test_nothing_is_left_even_of_a_process_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Spool(3) as held:
        held.append(1, 0, b"content")
        assert list(held.read(1))
        # No name that a killed process would leave.
        assert not list(tmp_path.iterdir())
        files = os.listdir("/proc/self/fd")
    assert len(os.listdir("/proc/self/fd")) == len(files) - 3


def test_the_number_of_open_files_is_limited():
    before = len(os.listdir("/proc/self/fd"))
    with Spool(10_000) as held:
        assert len(os.listdir("/proc/self/fd")) == before + spool.MAX_FILES
        held.append(9_999, 0, b"x")
        assert list(held.read(9_999)) == [frames([b"x"])]
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > spool.MAX_FILES


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with disks.mounted(tmp_path, "size=1m"), Spool(1) as held:
        with pytest.raises(WritingError) as refusal:
            for sort_key in range(100):
                held.append(0, sort_key, bytes(50_000))
        words = str(refusal.value)
        assert f"{tmp_path}: No space left on device" in words
        assert "TMPDIR=" in words
