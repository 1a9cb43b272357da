import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stage.parquet import read_parquet, read_parquet_file, write_parquet_file

TABLE = pa.table({"key": ["a", "b", "c"], "label": [1, 2, 3]})


def test_a_table_is_read_from_a_file_and_from_a_buffer(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path, row_group_size=2)
    with path.open("rb") as file:
        assert read_parquet(file) == TABLE
    assert read_parquet(pa.BufferReader(path.read_bytes())) == TABLE


def test_only_the_columns_asked_for_are_read(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path)
    with path.open("rb") as file:
        assert read_parquet(file, ["label"]) == TABLE.select(["label"])


@pytest.mark.parametrize("cut", [0, 10, -9])
def test_a_broken_file_raises_an_error_of_arrow(cut):
    buffer = io.BytesIO()
    pq.write_table(TABLE, buffer)
    with pytest.raises(pa.ArrowException):
        read_parquet(pa.BufferReader(buffer.getvalue()[:cut]))


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
