"""Rows of Parquet files: what can be read is, and the rest has a row and a reason."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.data import parquet_files, parquet_rows
from classifier.data.examples import Example, File
from classifier.data.parquet_rows import Columns
from stage.status import BAD_RECORD, CHANGED, CORRUPT_RECORD, MISSING
from tests.images import random_images, write_parquet

IMAGES = random_images(6)
COLUMNS = Columns("image", "label", ("a", "b"))


def read(path, columns=COLUMNS, **more):
    file = File(path=str(path), name="x", **more)
    return list(parquet_rows.read_rows(file, columns))


def write_table(path, groups=1, **columns):
    table = pa.table(columns)
    pq.write_table(table, path, row_group_size=-(-table.num_rows // groups))


def statuses(found):
    return [example.status for example in found]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), "struct", "dictionary"]
)
def test_bytes_of_any_kind_of_column(tmp_path, kind):
    if kind == "struct":
        images = pa.array([{"bytes": each, "more": 1} for each in IMAGES])
    elif kind == "dictionary":
        images = pa.array(IMAGES).dictionary_encode()
    else:
        images = pa.array(IMAGES, kind)
    write_table(tmp_path / "x", 2, image=images)
    found = read(tmp_path / "x", Columns("image"))
    assert found == [
        Example(b"x#%d" % row, image, -1) for row, image in enumerate(IMAGES)
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([0, 5, None, -1, 2**40, 1]), [0, 5, -1, -1, 2**40, 1]),
        (pa.array([2**64 - 1] * 6, pa.uint64()), [-1] * 6),
        (pa.array(["b", "a", None, "c", "", "b"]), [1, 0, -1, -1, -1, 1]),
        (pa.array(["b", "a"] * 3).dictionary_encode(), [1, 0] * 3),
        (pa.array([0.5] * 6), [-1] * 6),
    ],
)
def test_labels_are_numbers_or_names(tmp_path, labels, expected):
    write_table(tmp_path / "x", image=pa.array(IMAGES), label=labels)
    found = read(tmp_path / "x")
    assert [example.label for example in found] == expected
    assert statuses(found) == ["ok"] * 6


@pytest.mark.parametrize(
    ("labels", "named"),
    [(["b", "q"], "'q'"), ([0, None], "nothing"), ([0, -7], "-7")],
)
def test_what_is_in_place_of_a_label_is_said(tmp_path, labels, named):
    write_table(tmp_path / "x", image=pa.array(IMAGES[:2]), label=pa.array(labels))
    file = File(path=str(tmp_path / "x"), name="x")
    good, bad = parquet_rows.read_rows(file, COLUMNS, is_labeled=True)
    assert (good.error, bad.label) == ("", -1)
    assert "'label'" in bad.error
    assert named in bad.error


def test_an_image_that_is_null_or_elsewhere_is_a_row(tmp_path):
    images = [
        {"bytes": IMAGES[0], "path": "a.png"},
        {"bytes": None, "path": "/etc/passwd"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": None},
    ]
    write_table(tmp_path / "x", image=pa.array(images))
    found = read(tmp_path / "x", Columns("image"))
    assert statuses(found) == ["ok", *[BAD_RECORD] * 3, "ok"]
    assert "'/etc/passwd'" in found[1].error
    assert "null" in found[2].error
    assert "null" in found[3].error


def spoil(path, position):
    content = bytearray(path.read_bytes())
    content[position : position + 8] = bytes(8)
    path.write_bytes(content)


def test_reading_goes_on_behind_a_broken_row_group(tmp_path):
    path = tmp_path / "x"
    write_table(path, 3, image=pa.array(IMAGES))
    spoil(path, pq.read_metadata(path).row_group(1).column(0).data_page_offset)
    found = read(path, Columns("image"))
    assert statuses(found) == ["ok"] * 2 + [CORRUPT_RECORD] * 2 + ["ok"] * 2
    assert "row group 1" in found[2].error
    assert [example.key for example in found] == [b"x#%d" % row for row in range(6)]
    assert [example.image for example in found if example.image] == [
        *IMAGES[:2],
        *IMAGES[4:],
    ]


def test_a_wrong_checksum_of_a_page_is_found(tmp_path):
    path = tmp_path / "x"
    pq.write_table(
        pa.table({"image": IMAGES}),
        path,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
    )
    content = path.read_bytes()
    path.write_bytes(content.replace(IMAGES[0], IMAGES[0][:-1] + b"!"))
    assert set(statuses(read(path, Columns("image")))) == {CORRUPT_RECORD}


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no table" * 9, b"PAR1\0\0\0\xffPAR1"]
)
def test_a_file_that_is_none_is_one_row(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    (found,) = read(tmp_path / "x")
    assert (found.key, found.status) == (b"x#0", CORRUPT_RECORD)
    assert len(found.error.splitlines()) == 1


def test_each_listed_row_of_a_file_that_went_or_changed_is_a_row(tmp_path):
    found = read(tmp_path / "x", skip=3, take=2)
    assert [(e.key, e.status) for e in found] == [(b"x#3", MISSING), (b"x#4", MISSING)]
    write_parquet(tmp_path / "x", IMAGES, group=2)
    assert statuses(read(tmp_path / "x", skip=3, take=2)) == [CHANGED] * 2
    assert statuses(read(tmp_path / "x", skip=2, take=2, to_end=True)) == [CHANGED] * 2
    assert statuses(read(tmp_path / "x", size=7, skip=2, take=2)) == [CHANGED] * 2


@pytest.mark.parametrize("name", ["photo", "label"])
def test_each_row_of_a_file_without_the_column_is_a_row(tmp_path, name):
    write_parquet(tmp_path / "x", IMAGES[:2], [0, 1])
    found = read(tmp_path / "x", Columns(name), take=2)
    assert statuses(found) == [BAD_RECORD] * 2
    assert f"'{name}'" in found[0].error


def test_memory_is_that_of_a_batch(tmp_path, monkeypatch):
    """Arrow is never asked for more rows than about fit."""
    write_parquet(tmp_path / "x", [bytes([i]) * 1000 for i in range(100)], group=100)
    monkeypatch.setattr(parquet_rows, "_BATCH_BYTES", 10_000)
    asked = []
    original = parquet_files.ParquetFile.read

    def spy(self, group, columns, batch_size):
        for batch in original(self, group, columns, batch_size):
            asked.append(len(batch))
            yield batch

    monkeypatch.setattr(parquet_files.ParquetFile, "read", spy)
    assert len(read(tmp_path / "x", Columns("image"))) == 100
    assert max(asked) <= 10


def test_errors_of_reading_are_those_of_the_file(tmp_path):
    """Arrow would turn them into its own, and an outage into rows."""

    class Failing(io.BytesIO):
        def read(self, *_):
            raise OSError("the network is down")

    with pytest.raises(OSError, match="network is down"):
        parquet_files.ParquetFile(Failing(b"x" * 1000), 1000)


def test_an_image_that_many_rows_share_is_in_memory_once(tmp_path):
    big = bytes(10**6)
    column = pa.array([0] * 1000).cast(pa.int32())
    table = pa.table({"image": pa.DictionaryArray.from_arrays(column, [big])})
    pq.write_table(table, tmp_path / "x", dictionary_pagesize_limit=2**30)
    file = File(path=str(tmp_path / "x"), name="x")
    before = pa.total_allocated_bytes()
    sizes = [
        (len(example.image), pa.total_allocated_bytes() - before)
        for example in parquet_rows.read_rows(file, Columns("image"))
    ]
    assert {size for size, _ in sizes} == {10**6}
    assert len(sizes) == 1000
    assert max(allocated for _, allocated in sizes) < 30 * 10**6
