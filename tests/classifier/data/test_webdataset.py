"""Samples of tar files that Python's own `tarfile` writes."""

import gzip
import os
import tarfile

import pytest

from classifier.data import webdataset
from classifier.data.tfrecord import Broken
from classifier.data.webdataset import IMAGE_EXTENSIONS, WebDatasetSample
from tests.images import write_tar

MEMBERS = [
    ("a/000.jpg", b"first"),
    ("a/000.cls", b"2\n"),
    ("a/000.json", b"{}"),
    ("a/.hidden.jpg", b"x"),
    ("__meta__.json", b"{}"),
    ("./b/001.seg.png", b"mask"),
    ("b/001.PNG", b"second"),
]
SAMPLES = [
    WebDatasetSample("a/000", ["jpg", "cls", "json"], [b"first"], [b"2\n"]),
    WebDatasetSample("b/001", ["seg.png", "PNG"], [b"second"]),
]


def read(path, extensions=IMAGE_EXTENSIONS, label="cls"):
    with path.open("rb") as stream:
        return list(webdataset.read_samples(stream, extensions, label))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_adjacent_members_of_a_name_are_a_sample(tmp_path, mode):
    write_tar(tmp_path / "data", MEMBERS, mode)
    assert read(tmp_path / "data") == SAMPLES


def test_image_and_label_have_the_given_extensions(tmp_path):
    write_tar(tmp_path / "data", MEMBERS)
    first, second = read(tmp_path / "data", ("seg.png",), "json")
    assert (first.images, first.labels) == ([], [b"{}"])
    assert (second.images, second.labels) == ([b"mask"], [])


def test_a_name_that_returns_is_another_sample(tmp_path):
    write_tar(tmp_path / "data", [("x.jpg", b"1"), ("y.jpg", b"2"), ("x.jpg", b"3")])
    found = [(sample.name, sample.images) for sample in read(tmp_path / "data")]
    assert found == [("x", [b"1"]), ("y", [b"2"]), ("x", [b"3"])]


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_concatenated_files_are_read_to_their_end(tmp_path, compress):
    write_tar(tmp_path / "part", MEMBERS)
    part = compress((tmp_path / "part").read_bytes())
    (tmp_path / "data").write_bytes(part * 3)
    assert read(tmp_path / "data") == SAMPLES * 3


def test_samples_of_one_name_in_two_files_are_two(tmp_path):
    write_tar(tmp_path / "part", [("x.jpg", b"1")])
    (tmp_path / "data").write_bytes((tmp_path / "part").read_bytes() * 2)
    assert [sample.images for sample in read(tmp_path / "data")] == [[b"1"]] * 2


def test_a_block_of_zeros_divides_no_sample(tmp_path):
    write_tar(tmp_path / "data", [("x.jpg", b"1"), ("x.cls", b"2")])
    content = (tmp_path / "data").read_bytes()
    (tmp_path / "data").write_bytes(content[:1024] + bytes(512) + content[1024:])
    (sample,) = read(tmp_path / "data")
    assert (sample.images, sample.labels) == ([b"1"], [b"2"])


def test_what_follows_a_complete_file_is_a_row(tmp_path):
    write_tar(tmp_path / "data", MEMBERS)
    with (tmp_path / "data").open("ab") as file:
        file.write(b"words" * 500)
    *good, last = read(tmp_path / "data")
    assert good == SAMPLES
    assert last.is_rest


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE])
def test_links_are_no_images(tmp_path, kind):
    with tarfile.open(tmp_path / "data", "w") as tar:
        folder = tarfile.TarInfo("b")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("b.jpg")
        link.type, link.linkname = kind, "a.jpg"
        tar.addfile(link)
    (sample,) = read(tmp_path / "data")
    (image,) = sample.images
    assert isinstance(image, Broken)
    assert "'a.jpg'" in image.reason


def test_a_sample_of_many_images_holds_one(tmp_path):
    members = [("x.jpg", b"%d" % i) for i in range(1500)]
    write_tar(tmp_path / "data", [*members, ("y.jpg", b"y")])
    many, good = read(tmp_path / "data")
    assert len(many.images) == len(many.extensions) == 1000
    assert [image for image in many.images if isinstance(image, bytes)] == [b"0"]
    assert good.images == [b"y"]


def test_a_label_of_megabytes_is_not_read(tmp_path):
    write_tar(tmp_path / "data", [("x.jpg", b"x"), ("x.cls", b"1" * 2000)])
    (sample,) = read(tmp_path / "data")
    assert (sample.images, sample.labels) == ([b"x"], [b""])


def test_an_image_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(webdataset, "MAX_LENGTH", 1000)
    write_tar(tmp_path / "data", [("0.jpg", bytes(2000)), ("1.jpg", b"x")])
    long, good = read(tmp_path / "data")
    assert "2,000" in long.images[0].reason
    assert good.images == [b"x"]


@pytest.mark.parametrize("length", range(600, 7 * 512, 100))
def test_a_cut_file_gives_the_samples_before_the_cut(tmp_path, length):
    members = [(f"{i}.jpg", b"%d" % i * 600) for i in range(3)]
    write_tar(tmp_path / "data", members)
    os.truncate(tmp_path / "data", length)
    *good, last = read(tmp_path / "data")
    # A header of 512 bytes and two blocks, of which the content fills 600 bytes.
    complete = [i for i in range(3) if length >= 1536 * i + 512 + 600]
    assert [sample.images for sample in good] == [[members[i][1]] for i in complete]
    assert last.is_rest


@pytest.mark.parametrize(
    "content",
    [b"", b"no tar file" * 100, gzip.compress(b"x", mtime=0)],
    ids=["empty", "text", "gzip"],
)
def test_other_files_are_broken(tmp_path, content):
    (tmp_path / "data").write_bytes(content)
    (broken,) = read(tmp_path / "data")
    assert isinstance(broken, Broken)
    assert broken.is_rest
