"""Local images are counted; those in a bucket cost no more than 64 MiB to estimate."""

import dataclasses
import os

import numpy as np
import pytest

from classifier.data import counting, excerpt
from classifier.data.counting import ImageCount
from classifier.data.examples import File, name_hash
from classifier.data.sources import Shard, open_source
from tests import tensorflow_bucket
from tests.images import (
    FORMS,
    open_labeled,
    random_images,
    write_labeled_tar,
    write_records,
)

IMAGES = random_images(10)
LABELS = [i % 3 for i in range(10)]
MANY = 10**9
#: Writes images to a file, by form of the source and compression.
WRITERS = {
    "tfrecord": write_records,
    "tfrecord, gzip": lambda path, images: write_records(
        path, images, compression="GZIP"
    ),
    "webdataset": lambda path, images: write_labeled_tar(
        path, images, [0] * len(images)
    ),
}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 2 MiB, so that few bytes are many blocks."""
    monkeypatch.setattr(tensorflow_bucket, "BLOCK", 2**21)
    monkeypatch.setattr(excerpt, "_MAX_BYTES", 2**20)


def moved(source, bucket):
    """The same source with its files in the bucket."""
    files = tuple(
        dataclasses.replace(file, path=bucket.address(file.path), size=-1, mtime_ns=-1)
        for file in source.files
    )
    return dataclasses.replace(source, shards=(Shard(0, files),))


def with_sizes(source, bucket):
    """The same source with the sizes of its files, as Beam lists them."""
    files = tuple(
        dataclasses.replace(file, size=bucket.local(file.path).stat().st_size)
        for file in source.files
    )
    return dataclasses.replace(source, shards=(Shard(0, files),))


def noise(rng, mean, spread, count):
    """So many images of random lengths; none is decoded to be counted."""
    lengths = rng.integers(mean - spread, mean + spread, count)
    return [rng.bytes(int(length)) for length in lengths]


@pytest.mark.parametrize("form", FORMS)
def test_local_images_are_counted_up_to_a_number(form, tmp_path):
    source = open_labeled(form, tmp_path, IMAGES, LABELS)
    assert counting.count(source, 100) == ImageCount(len(IMAGES))
    assert counting.count(source, 3) == ImageCount(3)


@pytest.mark.parametrize("form", ["folder", "csv", "parquet", "tfds"])
def test_a_number_that_is_known_costs_no_byte(form, bucket):
    source = moved(open_labeled(form, bucket.folder, IMAGES, LABELS), bucket)
    assert counting.count(source, 100) == ImageCount(len(IMAGES))
    assert counting.count(source, 3) == ImageCount(3)
    assert (bucket.opened, bucket.num_stats) == ([], 0)


@pytest.mark.parametrize("form", ["tfrecord", "webdataset"])
def test_few_images_in_a_bucket_are_counted(form, bucket):
    open_labeled(form, bucket.folder, IMAGES, LABELS)
    source = open_source(f"{form}:gs://bucket/?")
    assert counting.count(source, 100) == ImageCount(len(IMAGES))
    assert counting.count(source, 3) == ImageCount(3)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("files", "per_file", "mean"),
    [(100, 30, 5_000), (3, 900, 5_000), (2, 40, 100_000)],
)
def test_many_images_in_a_bucket_are_estimated(
    bucket, small_blocks, kind, files, per_file, mean
):
    rng = np.random.default_rng(files)
    for index in range(files):
        images = noise(rng, mean, mean // 2, per_file)
        WRITERS[kind](bucket.folder / f"images-{index:03}", images)
    form = kind.partition(",")[0]
    found = counting.count(open_source(f"{form}:gs://bucket/images-*"), MANY)
    assert found.is_estimate
    assert found.number == pytest.approx(files * per_file, rel=0.3)
    assert str(found).startswith("about ")
    assert bucket.num_bytes <= 2**21
    assert bucket.num_stats <= 64
    source = open_source(f"{form}:gs://bucket/images-*")
    assert counting.count(source, MANY) == found
    assert counting.count(source, 7) == ImageCount(7, is_estimate=True)


def test_a_corpus_of_gigabytes_costs_64_mebibytes(bucket):
    """1,000 files of 700 images of 110 kB, 77 GB."""
    images = noise(np.random.default_rng(0), 110_000, 50_000, 700)
    write_records(bucket.folder / "first", images)
    for index in range(1000):
        os.link(bucket.folder / "first", bucket.folder / f"images-{index:03}")
    source = open_source("tfrecord:gs://bucket/images-*")
    found = counting.count(source, MANY)
    assert found.number == pytest.approx(700_000, rel=0.05)
    assert bucket.num_bytes <= 64 * 2**20
    assert counting.count(source, 100_000).number == 100_000


def test_a_small_file_in_front_does_not_stand_for_the_others(bucket, small_blocks):
    names = [f"images-{index}" for index in range(4)]
    files = sorted((File(path="", name=name) for name in names), key=name_hash)
    rng = np.random.default_rng(0)
    write_records(bucket.folder / files[0].name, noise(rng, 300, 1, 1))
    for file in files[1:]:
        write_records(bucket.folder / file.name, noise(rng, 10_000, 1_000, 250))
    found = counting.count(open_source("tfrecord:gs://bucket/images-*"), MANY)
    assert found.number == pytest.approx(751, rel=0.1)
    assert len(bucket.opened) == 1
    assert bucket.num_bytes <= 2**21


@pytest.mark.parametrize("sizes", [[1_500_000], [800_000, 700_000]])
def test_more_than_an_excerpt_is_estimated(bucket, small_blocks, sizes):
    """Also if a block would hold it."""
    rng = np.random.default_rng(0)
    for index, size in enumerate(sizes):
        images = noise(rng, 10_000, 1_000, size // 10_000)
        write_records(bucket.folder / f"images-{index}", images)
    found = counting.count(open_source("tfrecord:gs://bucket/images-*"), MANY)
    assert found.is_estimate
    assert found.number == pytest.approx(150, rel=0.1)


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("large", "small"), [(5, 0), (1, 100), (1, 0)])
def test_an_image_longer_than_an_excerpt_is_one(
    bucket, small_blocks, kind, large, small
):
    rng = np.random.default_rng(0)
    images = noise(rng, 3 * 2**20, 1, large) + noise(rng, 1_000, 1, small)
    WRITERS[kind](bucket.folder / "images", images)
    source = open_source(f"{kind.partition(',')[0]}:gs://bucket/images")
    found = counting.count(source, MANY)
    assert found == ImageCount(pytest.approx(3 * large, abs=1), is_estimate=True)


def test_records_without_images_are_not_counted(bucket, small_blocks):
    images = noise(np.random.default_rng(0), 10_000, 1_000, 200)
    write_records(bucket.folder / "images", images)
    source = open_source("tfrecord:gs://bucket/images", image_feature="pixels")
    assert counting.count(source, MANY) == ImageCount(0, is_estimate=True)


def test_files_that_were_not_looked_at_may_have_images(bucket):
    for index in range(65):
        (bucket.folder / f"images-{index:02}").touch()
    source = open_source("tfrecord:gs://bucket/images-*")
    assert counting.count(source, MANY) == ImageCount(0, is_estimate=True)
    assert bucket.num_stats == 64
    known_to_be_empty = with_sizes(source, bucket)
    assert counting.count(known_to_be_empty, MANY) == ImageCount(0)


def test_of_files_with_known_sizes_the_empty_ones_do_not_count(bucket):
    for index in range(199):
        (bucket.folder / f"images-{index:03}").touch()
    write_records(bucket.folder / "images-199", [b"image"] * 30)
    source = open_source("tfrecord:gs://bucket/images-*")
    assert counting.count(with_sizes(source, bucket), MANY) == ImageCount(30)
    assert bucket.num_stats == 0


def test_what_cannot_be_read_is_not_counted(bucket, small_blocks):
    write_records(bucket.folder / "images-0", [b"image"] * 5)
    (bucket.folder / "images-1").write_bytes(b"no records" * 50)
    (bucket.folder / "images-2").touch()
    source = open_source("tfrecord:gs://bucket/images-*")
    assert counting.count(source, MANY) == ImageCount(5)
    (bucket.folder / "images-0").unlink()
    assert counting.count(source, MANY) == ImageCount(0)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (ImageCount(0), "0"),
        (ImageCount(1234), "1,234"),
        (ImageCount(98_000, is_estimate=True), "about 98,000"),
    ],
)
def test_an_estimate_says_so(count, text):
    assert str(count) == text
