"""Broken Parquet and CSV files: one job labels what ends as rows."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from classifier.data import inspection
from classifier.data.sources import open_source
from tests.faults import job, page
from tests.images import random_images, write_csv, write_folder, write_parquet

IMAGES = random_images(3)
TEXT, DELETED, OVERWRITTEN = (
    "text file among Parquet files",
    "Parquet file deleted after the source was listed",
    "Parquet file overwritten after the source was listed",
)
ROWS = {
    TEXT: "bad",
    "truncated Parquet file": "bad",
    "damaged row group of a Parquet file": "ok bad ok",
    DELETED: "bad bad bad",
    OVERWRITTEN: "bad bad bad",
    "null in place of an image in a Parquet file": "ok bad ok",
    "path in place of an image in a Parquet file": "ok bad ok",
    "image of zero bytes in a Parquet file": "ok bad ok",
    "Parquet file whose images are texts, among others": "bad bad bad",
    "labels of a Parquet file to be labeled that are lists": "ok ok ok",
}


def write(path):
    """Writes a file with the fault that is its name."""
    images = list(IMAGES)
    if "null" in path.name:
        images[1] = None
    elif "zero bytes" in path.name:
        images[1] = b""
    write_parquet(path, images, group=1)
    content = path.read_bytes()
    if path.name == TEXT:
        path.write_bytes(b"no table at all, but words")
    elif "truncated" in path.name:
        path.write_bytes(content[:-20])
    elif "damaged" in path.name:
        at = pq.read_metadata(path).row_group(1).column(0).data_page_offset
        path.write_bytes(content[:at] + bytes(8) + content[at + 8 :])
    elif path.name.startswith("path"):
        values = [{"bytes": each, "path": "/etc/passwd"} for each in IMAGES]
        values[1]["bytes"] = None
        pq.write_table(pa.table({"image": values}), path)
    elif "texts" in path.name:
        pq.write_table(pa.table({"image": ["a", "b", "c"]}), path)
    elif "lists" in path.name:
        pq.write_table(pa.table({"image": IMAGES, "label": [[1], [], [2]]}), path)


def by_file(output):
    """Returns the rows of each file, in order."""
    found = {}
    for row in job.read_rows(output):
        found.setdefault(row["key"].partition("#")[0], []).append(row)
    return found


@pytest.fixture(scope="module")
def rows(tmp_path_factory, exported):
    root = tmp_path_factory.mktemp("tables")
    (root / "in").mkdir()
    for name in ROWS:
        write(root / "in" / name)
    # Columns are those of the first file that is one.
    write_parquet(root / "in" / "0", IMAGES)

    def change_files():
        (root / "in" / DELETED).unlink()
        os.utime(root / "in" / OVERWRITTEN, (7, 7))

    job.label(
        f"parquet:{root}/in/*",
        root / "out",
        lambda: job.settings(exported[0], max_bad_fraction=1.0),
        before_reading=change_files,
    )
    return by_file(root / "out")


@page.holds(*ROWS)
def test_what_a_parquet_file_lacks_is_a_row_and_harms_no_other(fault, rows):
    found, pattern = rows[fault.name], ROWS[fault.name]
    wanted = [fault.status if word == "bad" else word for word in pattern.split()]
    assert [row["status"] for row in found] == wanted
    assert [row["key"] for row in found] == [
        f"{fault.name}#{row}" for row in range(len(found))
    ]
    for row in found:
        if row["status"] != "ok":
            fault.check(row["error"])


@page.holds("Parquet files without a column of images")
def test_no_image_column(fault, place):
    pq.write_table(pa.table({"photo": ["a"]}), place.root / "x.parquet")
    place.refused(fault, images=f"parquet:{place.root}/x.parquet")


@page.holds("Parquet files that disagree about the classes")
def test_other_classes(fault, place):
    write_parquet(place.root / "0.parquet", IMAGES, [0, 1, 0], names="ab")
    write_parquet(place.root / "1.parquet", IMAGES, [0, 1, 0], names="ba")
    place.refused(fault, images=f"parquet:{place.root}/?.parquet")


@page.holds("no Parquet file among the files")
def test_no_parquet_file(fault, place):
    (place.root / "note.txt").write_text("no table")
    place.refused(fault, images=f"parquet:{place.root}/note.txt")


LISTS = {
    "CSV file without a column of paths": b"file,label\nin/0.png,a\n",
    "CSV line with a value too few": b"path,label\nin/0.png,a\nin/1.png\n",
    "binary file in place of a CSV file": b"path," + bytes(2**21),
    "path that a CSV file lists twice": b"path\nin/0.png\nin/../in/0.png\n",
}


@page.holds(*LISTS)
def test_a_list_that_is_none(fault, place):
    (place.root / "list.csv").write_bytes(LISTS[fault.name])
    place.refused(fault, images=f"csv:{place.root}/list.csv")


LISTED = {
    "file that a CSV file lists and that is not there": "no.png",
    "folder that a CSV file lists": ".",
    "path in a CSV file that leads out of its folder": "../in/00000.png",
}


@page.holds(*LISTED)
def test_a_listed_file(fault, place):
    listed = [(LISTED[fault.name],), ("../in/00001.png",), ("../in/00002.png",)]
    write_csv(place.root / "lists" / "list.csv", listed, ("path",))
    place.label(images=f"csv:{place.root}/lists/list.csv")
    found = by_file(place.output)
    assert len(found) == 3
    assert not any(".." in key.split("/") or key[0] == "/" for key in found)
    bad = [row for rows in found.values() for row in rows if row["status"] != "ok"]
    assert [row["status"] for row in bad] == [fault.status] * fault.is_row
    for row in bad:
        fault.check(row["error"])


@page.holds("dataset of the Hugging Face Hub that cannot be read")
def test_no_hub(fault, place, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place.root / "cache"))
    place.refused(fault, images="hf:owner/birds:train")


@page.holds("directory of a TFDS dataset in place of a folder")
def test_a_dataset_by_its_path(fault, place):
    (place.root / "in" / "features.json").write_text("{}")
    place.refused(fault, images=f"{place.root}/in")


@page.holds("file beside the folders of the classes")
def test_a_file_of_no_class(fault, tmp_path):
    write_folder(tmp_path, IMAGES, [0, 1, 2])
    (tmp_path / ".DS_Store").touch()
    assert open_source(str(tmp_path)).labeled_class_names() == ("a", "b", "c")
    (tmp_path / "Thumbs.db").write_text("x")
    with pytest.raises(ValueError, match="move or delete") as refusal:
        open_source(f"folder:{tmp_path}").labeled_class_names()
    fault.check(str(refusal.value))


@page.holds("file in the folder of a class that is no image")
def test_a_file_of_a_class_that_is_no_image(fault, tmp_path):
    write_folder(tmp_path, IMAGES, [0, 1, 2])
    (tmp_path / "a" / ".DS_Store").touch()
    inspection.inspect(open_source(str(tmp_path)), for_training=True)
    (tmp_path / "a" / "Thumbs.db").write_text("x")
    with pytest.raises(ValueError, match="a/Thumbs") as refusal:
        inspection.inspect(open_source(str(tmp_path)), for_training=True)
    fault.check(str(refusal.value))


@page.holds("folder of a class without an image")
def test_an_empty_class(fault, tmp_path, capsys):
    write_folder(tmp_path, IMAGES, [0, 1, 2])
    (tmp_path / "empty").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert open_source(str(tmp_path)).class_names == ("a", "b", "c")
    fault.check(capsys.readouterr().err)
