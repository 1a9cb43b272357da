"""Images that a CSV file lists."""

import re

import pytest

from classifier.data import csv_listing
from classifier.data.csv_listing import name_of
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from tests.images import random_images, write_csv, write_folder

IMAGES = random_images(3)


@pytest.fixture
def place(tmp_path):
    write_folder(tmp_path / "in", IMAGES)
    return tmp_path


def open_list(place, rows, columns=("path", "label"), names=None, **more):
    write_csv(place / "list.csv", rows, columns)
    if names:
        (place / "names.txt").write_text("\n".join(names))
        more["class_names_file"] = str(place / "names.txt")
    return open_source(f"csv:{place}/list.csv", **more)


def read(source):
    return list(read_examples(source.reader, source.files))


def paths(place):
    """The same files by relative, roundabout and absolute paths."""
    return ["in/00000.png", "./in/../in//00001.png", f"{place}/in/00002.png"]


def test_paths_are_relative_to_the_list(place):
    source = open_list(place, zip(paths(place), "bab", strict=True))
    assert source.labeled_class_names() == ("a", "b")
    found = [(e.key.decode(), e.image, e.label) for e in read(source)]
    names = [f"in/0000{i}.png" for i in range(3)]
    assert found == list(zip(names, IMAGES, [1, 0, 1], strict=True))
    lines = (place / "list.csv").read_text().splitlines(keepends=True)
    (place / "list.csv").write_text("".join(lines[:1] + lines[:0:-1]))
    again = open_source(f"csv:{place}/list.csv")
    assert again.describe() == source.describe()


@pytest.mark.parametrize(
    ("top", "listed", "name"),
    [
        ("/d", "a/b.jpg", "a/b.jpg"),
        ("/d/e", "../x.jpg", "d/x.jpg"),
        ("/d", "/d/a.jpg", "a.jpg"),
        ("/d", "/da/a.jpg", "da/a.jpg"),
        ("/d", "/d/../../etc/passwd", "etc/passwd"),
        ("/d", "gs://b/a.jpg", "gs/b/a.jpg"),
        ("gs://b/d", "a.jpg", "a.jpg"),
        ("gs://b/d", "../a.jpg", "gs/b/a.jpg"),
        ("gs://b/d", "gs://b/d/a.jpg", "a.jpg"),
        ("gs://b", "../../../etc", "gs/etc"),
        ("/d", "../..://x/y", "x/y"),
        ("/", "/a", "a"),
        ("/d", "..", "."),
    ],
)
def test_keys_stay_below_a_folder(top, listed, name):
    assert name_of(listed, top) == name


def test_a_key_is_listed_once(place):
    with pytest.raises(ValueError, match=re.escape("in/00000.png")):
        open_list(place, [("in/00000.png", "a"), (f"{place}/in/00000.png", "b")])


@pytest.mark.parametrize(
    ("labels", "names", "classes", "numbers"),
    [
        ("110", None, ("0", "1"), [1, 1, 0]),
        (("10", "9", "10"), None, ("9", "10"), [1, 0, 1]),
        ("bab", ["b", "c", "a"], ("b", "c", "a"), [0, 2, 0]),
        ("201", ["b", "c", "a"], ("b", "c", "a"), [2, 0, 1]),
        (("a", "", " a "), None, ("a",), [0, -1, 0]),
        (("", "", ""), None, None, [-1, -1, -1]),
    ],
)
def test_labels_are_names_or_numbers(place, labels, names, classes, numbers):
    source = open_list(place, zip(paths(place), labels, strict=True), names=names)
    assert source.class_names == classes
    assert [file.label for file in source.files] == numbers


def test_without_labels(place):
    source = open_list(place, [(path,) for path in paths(place)], ("path",))
    assert source.class_names is None
    assert [example.label for example in read(source)] == [-1] * 3
    with pytest.raises(ValueError, match="csv:"):
        source.labeled_class_names()


def test_columns_by_another_name(place):
    rows = [("1", path, "x") for path in paths(place)]
    source = open_list(
        place,
        rows,
        ("id", "file", "kind"),
        image_feature="file",
        label_feature="kind",
    )
    assert source.class_names == ("x",)


def test_names_that_are_not_utf8(place):
    (place / "caf\udce9.png").write_bytes(IMAGES[0])
    (found,) = read(open_list(place, [("caf\udce9.png", "a")]))
    assert (found.key, found.image) == (b"caf\xe9.png", IMAGES[0])


def test_a_byte_order_mark_and_quotes_are_read(place):
    (place / "a,b.png").write_bytes(IMAGES[0])
    content = b'\xef\xbb\xbfpath,label\r\n"a,b.png","x ""y"""\r\n\r\n'
    (place / "list.csv").write_bytes(content)
    source = open_source(f"csv:{place}/list.csv")
    assert source.class_names == ('x "y"',)
    assert read(source)[0].image == IMAGES[0]


def test_what_is_not_there_or_no_file_is_a_row(place):
    source = open_list(place, [("in", "a"), ("in/no.png", "a"), ("in/00000.png", "b")])
    found = {example.key: example.status for example in read(source)}
    assert found == {
        b"in": "unreadable",
        b"in/no.png": "missing",
        b"in/00000.png": "ok",
    }


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "'path'.*nothing"),
        (b"path,label\n", "no lines"),
        (b"file,label\na,b\n", "'path'.*--image_column.*'file', 'label'"),
        (b"path;label\na;b\n", "'path;label'"),
        (b"path,path\na,b\n", "'path'"),
        (b"path,label\na\n", "2 values in line 2.*got 1"),
        (b"path,label\na,b\na,b,c\n", "2 values in line 3.*got 3"),
        (b"path,label\n,b\n", "line 2"),
        (b'path,label\na,"b\n', "line 1"),
        (b"path,label\nnosuch://x/a.png,b\n", "nosuch"),
        (b"path\n" + b"a" * 2**21, "1,048,576"),
        (bytes(2**21), "1,048,576"),
        (b"path\n" + b"a" * 2**18 + b"\n", "field"),
    ],
)
def test_a_file_that_is_no_list_is_refused(place, content, named):
    (place / "list.csv").write_bytes(content)
    with pytest.raises(ValueError, match=named) as error:
        open_source(f"csv:{place}/list.csv")
    assert str(error.value).startswith(f"csv:{place}/list.csv: ")
    assert "\n" not in str(error.value)


def test_a_label_that_is_no_class_is_refused(place):
    with pytest.raises(ValueError, match="'q'"):
        open_list(place, [("in/00000.png", "q")], names=["a", "b"])


def test_no_list(place):
    with pytest.raises(FileNotFoundError, match=r"no\.csv"):
        open_source(f"csv:{place}/no.csv")
    assert csv_listing.locate("a", "") == "a"
