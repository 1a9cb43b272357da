import collections
import os
import pathlib
import urllib.parse

import pytest

from beam_jobs.writing.spool import WritingError
from classifier.data.sources import open_source
from tests import chain
from tests.images import random_images
from workflow.labels import folders, selected


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def labels(made):
    return selected.open_selected(made.predictions, made.selection)


def write(made, labels, output):
    source = folders.plan(labels, open_source(made.images), str(output))
    return folders.write(labels, source, str(output))


def test_each_selected_image_is_in_the_folder_of_its_class(made, labels, tmp_path):
    output = tmp_path / "below" / "labels"
    count = write(made, labels, output)
    expected = collections.Counter()
    job = made.plan(output=str(tmp_path / "dataset"))
    for shard in job.source.shards:
        for row, _, image in folders._images(labels, job.source, shard):
            name = chain.CLASS_NAMES[row["label"]]
            expected[name, row["key"], image] += 1
    found = collections.Counter(
        (
            urllib.parse.unquote(path.parent.name),
            urllib.parse.unquote(path.name).removesuffix(".png"),
            path.read_bytes(),
        )
        for path in output.glob("*/*")
    )
    assert found == expected
    assert count == found.total() == labels.selection.funnel.unique_kept > 0
    assert set(os.listdir(output.parent)) == {"labels"}


def test_an_image_that_changed_leaves_nothing(made, tmp_path):
    copy = chain.make(tmp_path / "chain", images=random_images(24))
    labels = selected.open_selected(copy.predictions, copy.selection)
    source = folders.plan(labels, open_source(copy.images), str(tmp_path / "out"))
    other = chain.make(tmp_path / "other", images=random_images(25)[1:])
    for name in ("part-00", "part-01", "part-02"):
        content = (other.root / "images" / name).read_bytes()
        (copy.root / "images" / name).write_bytes(content)
    with pytest.raises(WritingError, match="shard 0: "):
        folders.write(labels, source, str(tmp_path / "out"))
    assert {path.name for path in tmp_path.iterdir()} == {"chain", "other"}


def test_a_bucket_is_refused(made, labels):
    with pytest.raises(ValueError, match="gs://b/out: expected a local directory"):
        folders.plan(labels, open_source(made.images), "gs://b/out")


NAMES = (
    *("a.jpg", "../../etc/passwd", "/root", "..", ".", ".hidden", "", "a/b", "a%2Fb"),
    *("a\\b", "a\0b", "a\nb", "Möwe (2).jpg", "CON.", "x ", "bee | wasp", "\udcff"),
    *("x" * 300, "x" * 299 + "y", "ü" * 300, "🐦"),
)


def test_names_are_no_paths_and_all_different(tmp_path):
    found = [folders.file_name(name) for name in NAMES]
    assert len(set(found)) == len(NAMES)
    for name in found:
        assert pathlib.PurePath(name).name == name
        assert "\\" not in name and not name.startswith(".")
        (tmp_path / name).touch()
        assert (tmp_path / name).parent == tmp_path
    assert len(os.listdir(tmp_path)) == len(NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if 0 < len(name) < 100])
def test_short_names_can_be_read_back(name):
    unquoted = urllib.parse.unquote(folders.file_name(name), errors="surrogatepass")
    assert unquoted == name


@pytest.mark.parametrize(
    ("key", "start", "name"),
    [
        ("a.JPG", b"\xff\xd8\xff", "a.JPG"),
        ("a.jpeg", b"\xff\xd8\xff", "a.jpeg"),
        ("part-0:3", b"\x89PNG", "part-0%3A3.png"),
        ("a.jpg", b"RIFF", "a.jpg.webp"),
        ("b/a.gif", b"GIF89a", "b%2Fa.gif"),
        ("x" * 300, b"BM", folders.file_name("x" * 300) + ".bmp"),
    ],
)
def test_images_have_the_ending_of_their_format(key, start, name):
    assert folders._image_name({"key": key}, start + b"...") == name
