"""Listing of Parquet files: columns, classes and runs of row groups."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.data import parquet_files, parquet_listing
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from tests import tensorflow_bucket
from tests.images import random_images, write_parquet

IMAGES = random_images(6)


def open_one(path, names=None, **more):
    if names:
        (path.parent / "names.txt").write_text("\n".join(names))
        more["class_names_file"] = str(path.parent / "names.txt")
    return open_source(f"parquet:{path}", **more)


def labels(source):
    return [e.label for e in read_examples(source.reader, source.files)]


def test_the_names_of_classes_are_those_of_the_metadata(tmp_path):
    write_parquet(tmp_path / "x", IMAGES[:3], [1, 0, 1], names=("cat", "ant"))
    source = open_one(tmp_path / "x")
    assert source.labeled_class_names() == ("cat", "ant")
    assert labels(source) == [1, 0, 1]
    assert open_one(tmp_path / "x", ["cat", "ant"]).class_names == ("cat", "ant")
    with pytest.raises(ValueError, match="'cat'"):
        open_one(tmp_path / "x", ["ant", "cat"])


def test_files_must_agree_about_the_classes(tmp_path):
    write_parquet(tmp_path / "0", IMAGES[:2], [1, 0], names=("cat", "ant"))
    write_parquet(tmp_path / "1", IMAGES[:2], [1, 0], names=("ant", "cat"))
    with pytest.raises(ValueError, match=r"1: expected class 0 to be 'cat'"):
        open_source(f"parquet:{tmp_path}/?")


def test_texts_are_classes_in_order(tmp_path):
    write_parquet(tmp_path / "0", IMAGES[:2], ["b", "a"])
    write_parquet(tmp_path / "1", IMAGES[2:5], ["c", None, ""])
    source = open_source(f"parquet:{tmp_path}/?")
    assert source.labeled_class_names() == ("a", "b", "c")
    assert labels(source) == [1, 0, 2, -1, -1]
    source = open_one(tmp_path / "0", ["b", "a"])
    assert labels(source) == [0, 1]


def test_numbers_without_names_are_no_classes(tmp_path):
    write_parquet(tmp_path / "x", IMAGES[:2], [1, 0])
    source = open_one(tmp_path / "x")
    assert source.class_names is None
    with pytest.raises(ValueError, match="--class_names"):
        source.labeled_class_names()
    assert open_one(tmp_path / "x", ["p", "q"]).class_names == ("p", "q")


@pytest.mark.parametrize(
    "metadata",
    [b"", b"{", b"[" * 10**5, b"[]", b'{"info": {"features": {"label": 3}}}', b"\xff"],
)
def test_other_metadata_is_none(tmp_path, metadata):
    table = pa.table({"image": IMAGES, "label": [0] * 6})
    table = table.replace_schema_metadata({"huggingface": metadata})
    pq.write_table(table, tmp_path / "x")
    assert open_one(tmp_path / "x").class_names is None


def test_columns_by_another_name(tmp_path):
    columns = {"jpg": IMAGES, "class": ["a", "b"] * 3, "url": ["u"] * 6}
    pq.write_table(pa.table(columns), tmp_path / "x")
    assert open_one(tmp_path / "x").reader.columns.image == "jpg"  # The only bytes.
    source = open_one(tmp_path / "x", label_feature="class", image_feature="jpg")
    assert source.class_names == ("a", "b")
    pq.write_table(pa.table({**columns, "png": IMAGES}), tmp_path / "x")
    with pytest.raises(ValueError, match=r"'image'.*--image_column.*'jpg': binary"):
        open_one(tmp_path / "x")
    for wrong in ({"image_feature": "url"}, {"label_feature": "jpg"}):
        with pytest.raises(ValueError, match=next(iter(wrong.values()))):
            open_one(tmp_path / "x", **{"image_feature": "jpg", **wrong})


def test_captions_are_no_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_listing, "_MAX_CLASSES", 3)
    write_parquet(tmp_path / "x", IMAGES[:4], list("abcd"))
    with pytest.raises(ValueError, match="'label'"):
        open_one(tmp_path / "x")


def test_a_run_of_row_groups_is_a_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_files, "RUN_ROWS", 4)
    write_parquet(tmp_path / "a.parquet", [b"x"] * 7, group=3)
    write_parquet(tmp_path / "b.parquet", [], group=3)
    write_parquet(tmp_path / "c.parquet", [b"x"] * 2, group=1)
    source = open_source(f"parquet:{tmp_path}/*")
    runs = [(file.name, file.skip, file.take, file.to_end) for file in source.files]
    assert runs == [
        ("a.parquet", 0, 6, False),
        ("a.parquet", 6, 1, True),
        ("c.parquet", 0, 2, True),
    ]
    assert [len(shard.files) for shard in source.shards] == [1, 1, 1]
    assert source.known_examples == source.num_examples == 9
    keys = [e.key for e in read_examples(source.reader, source.files)]
    assert len(set(keys)) == 9
    assert keys[6:8] == [b"a.parquet#6", b"c.parquet#0"]
    monkeypatch.setattr(parquet_files, "RUN_BYTES", 1)
    assert len(open_source(f"parquet:{tmp_path}/*").files) == 5


def test_a_broken_file_beside_a_good_one_is_a_row(tmp_path):
    write_parquet(tmp_path / "a", IMAGES)
    (tmp_path / "b").write_bytes(b"PAR1 no more")
    source = open_source(f"parquet:{tmp_path}/?")
    found = list(read_examples(source.reader, source.files))
    assert [example.status for example in found] == ["ok"] * 6 + ["corrupt_record"]
    (tmp_path / "a").unlink()
    with pytest.raises(ValueError, match="Parquet files, got b"):
        open_source(f"parquet:{tmp_path}/b")


def test_files_without_rows(tmp_path):
    write_parquet(tmp_path / "a", [])
    with pytest.raises(ValueError, match="no rows"):
        open_one(tmp_path / "a")


def test_files_in_a_bucket_are_read_by_ranges(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorflow_bucket, "BLOCK", 2**12)
    write_parquet(tmp_path / "a", [bytes(2**20)] * 8, ["a", "b"] * 4, group=1)
    bucket = tensorflow_bucket.use(tmp_path, monkeypatch)
    source = open_source("parquet:gs://bucket/*")
    assert source.class_names == ("a", "b")
    assert source.known_examples == 8
    first = dataclasses.replace(source.files[0], take=1, to_end=False)
    (example,) = read_examples(source.reader, [first])
    assert (example.image, example.label) == (bytes(2**20), 0)
    local = open_source(f"parquet:{tmp_path}/*")
    expected = list(read_examples(local.reader, local.files))
    assert list(read_examples(source.reader, source.files)) == expected
    assert bucket.opened
