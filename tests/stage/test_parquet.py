import io
import itertools
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stage import parquet
from stage.parquet import (
    ChecksumReader,
    checksum,
    read_parquet_file,
    write_parquet_file,
)

TABLE = pa.table({"key": ["a", "b", "c"], "label": [1, 2, 3]})


def test_a_table_is_read_from_a_file_and_from_a_buffer(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path, row_group_size=2)
    with path.open("rb") as file:
        assert ChecksumReader(file).read_all() == TABLE
    assert read_parquet_file(path) == TABLE


def test_only_the_columns_asked_for_are_read(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path)
    with path.open("rb") as file:
        assert ChecksumReader(file).read_all(["label"]) == TABLE.select(["label"])


@pytest.mark.parametrize("cut", [0, 10, -9])
def test_a_broken_file_is_an_error(cut):
    buffer = io.BytesIO()
    pq.write_table(TABLE, buffer)
    with pytest.raises(ValueError, match="Parquet"):
        ChecksumReader(pa.BufferReader(buffer.getvalue()[:cut]))


def test_a_file_is_named_where_it_is_broken_or_missing(tmp_path):
    path = tmp_path / "rows.parquet"
    with pytest.raises(FileNotFoundError, match=r"rows\.parquet"):
        read_parquet_file(path)
    pq.write_table(TABLE, path)
    assert read_parquet_file(path, ["key"]) == TABLE.select(["key"])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"rows\.parquet"):
        read_parquet_file(path)


def test_a_file_with_a_broken_page_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path, compression="zstd")
    content = bytearray(path.read_bytes())
    for position in range(4, 60):  # The first page, before the footer.
        content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.parquet"):
        read_parquet_file(path)


def test_columns_are_all_there_in_the_order_asked_for(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path)
    assert read_parquet_file(path, ["label", "key"]) == TABLE.select(["label", "key"])
    with pytest.raises(ValueError, match=r"rows\.parquet.*confidence"):
        read_parquet_file(path, ["label", "confidence"])


def test_a_table_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "rows.parquet"
    write_parquet_file(path, TABLE, row_group_size=2)
    assert read_parquet_file(path) == TABLE
    assert pq.read_metadata(path).num_row_groups == 2
    with pytest.raises(pa.ArrowException):
        write_parquet_file(path, TABLE, compression="no such")
    assert read_parquet_file(path) == TABLE
    assert list(tmp_path.iterdir()) == [path]


COLUMNS = [
    pa.array([1, None, 3, None] * 5, pa.int32()),
    pa.array([0.5, None, 1.0] * 7, pa.float32()),
    pa.array([2**64 - 1, 0, None, 7, 8] * 4, pa.uint64()),
    pa.array(["a", None, "", "\u00e4b"] * 5),
    pa.array([b"a" * 32, None, b"b" * 32] * 6, pa.binary(32)),
    pa.array([b"a", None, b""] * 6, pa.binary()),
    pa.array([True, None, False] * 6),
    pa.array([[1, 2], None, [], [3]] * 5, pa.list_(pa.int32())),
]


@pytest.mark.parametrize("array", COLUMNS, ids=lambda array: str(array.type))
def test_a_checksum_is_of_the_values_however_they_lie(array):
    for start, stop in itertools.product(range(9), range(9, len(array))):
        values = array[start:stop]
        expected = checksum(
            pa.chunked_array([pa.array(values.to_pylist(), array.type)])
        )
        assert checksum(pa.chunked_array([values])) == expected
        assert checksum(pa.chunked_array([values[:3], values[3:]])) == expected
    assert checksum(pa.chunked_array([array])) != checksum(
        pa.chunked_array([array[1:]])
    )


def test_bytes_below_nulls_do_not_count():
    values = [np.array([1, value, 3], np.int32) for value in (2, 7)]
    mask = np.array([False, True, False])
    first, second = (pa.array(array, mask=mask) for array in values)
    assert checksum(pa.chunked_array([first])) == checksum(pa.chunked_array([second]))


def test_checksums_of_a_column_differ_where_its_values_do():
    variants = [[1, 2], [2, 1], [1, None], [None, 1], [1, 0], [0, 1], [1, 2, None]]
    found = {
        checksum(pa.chunked_array([pa.array(values, kind)]))
        for values in variants
        for kind in (pa.int32(), pa.int64(), pa.uint64())
    }
    assert len(found) == 3 * len(variants)


def flips(content, count):
    for bit in random.Random(0).sample(range(8 * len(content)), count):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def test_a_bit_that_flips_changes_nothing_or_is_found(tmp_path):
    path = tmp_path / "rows.parquet"
    write_parquet_file(path, TABLE, row_group_size=2, compression="zstd")
    found = 0
    for flipped in flips(path.read_bytes(), 600):
        path.write_bytes(flipped)
        try:
            assert read_parquet_file(path) == TABLE
        except ValueError as error:
            assert str(path) in str(error)
            found += 1
    assert 300 < found < 600


def test_the_footer_is_compared_before_it_is_parsed(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    write_parquet_file(path, TABLE)
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    monkeypatch.setattr(pq, "read_metadata", pytest.fail)
    for at in range(len(content) - 8 - length, len(content) - 8):
        path.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        with pytest.raises(ValueError, match=r"rows\.parquet"):
            read_parquet_file(path)


def test_a_long_footer_is_read_as_well(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    write_parquet_file(path, TABLE, row_group_size=1)
    monkeypatch.setattr(parquet, "_TAIL_BYTES", 64)
    assert read_parquet_file(path) == TABLE


def test_a_table_without_rows(tmp_path):
    path = tmp_path / "rows.parquet"
    write_parquet_file(path, TABLE[:0])
    assert read_parquet_file(path) == TABLE[:0]


def test_pages_have_checksums_that_other_programs_compare(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pa.table({"label": np.arange(1000)})
    write_parquet_file(path, table, use_dictionary=False)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        assert file.read() == table
        at = file.metadata.row_group(0).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[at + 500] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(OSError, match="CRC"):
        pq.ParquetFile(path, page_checksum_verification=True).read()


def test_a_file_of_another_owner_is_refused(tmp_path):
    for name, owner in (("a", "us"), ("b", "them"), ("c", "")):
        write_parquet_file(tmp_path / name, TABLE, owner=owner)
    for name in "ac":  # Files of earlier versions name none.
        assert read_parquet_file(tmp_path / name, owner="us") == TABLE
    assert read_parquet_file(tmp_path / "b") == TABLE
    with pytest.raises(ValueError, match=str(tmp_path / "b")):
        read_parquet_file(tmp_path / "b", owner="us")
