"""Rows and images are joined by position, and compared by the image's hash."""

import hashlib

import numpy as np
import pytest

from beam_jobs.writing.selected_images import join_images
from beam_jobs.writing.spool import WritingError
from classifier.data.examples import Example

COPIES = np.array([1, 0, 3, 0, 0, 2, 1])
IMAGES = [b"image %d" % number for number in range(len(COPIES))]
BROKEN = 3  # Not selected, so that nobody misses its image.


def examples(images=IMAGES):
    return [
        Example(b"", b"", -1, "unreadable", "no bytes")
        if number == BROKEN
        else Example(b"key", image, -1)
        for number, image in enumerate(images)
    ]


def join(found, copies=COPIES):
    rows = (
        {"key": f"key {n}", "image_sha256": hashlib.sha256(IMAGES[n]).digest()}
        for n in np.flatnonzero(COPIES)
    )
    return list(join_images(rows, copies, found, shard=7))


def test_each_selected_row_gets_its_copies_and_its_image():
    found = [(row["key"], copies, image) for row, copies, image in join(examples())]
    selected = np.flatnonzero(COPIES)
    assert found == [(f"key {n}", COPIES[n], IMAGES[n]) for n in selected]


@pytest.mark.parametrize("number", np.flatnonzero(COPIES))
def test_an_image_that_is_not_the_labeled_one_is_named(number):
    changed = [*IMAGES[:number], b"another", *IMAGES[number + 1 :]]
    with pytest.raises(WritingError, match=rf"shard 7, row {number} \(key {number}\)"):
        join(examples(changed))


def test_an_image_that_is_not_selected_is_not_compared():
    assert len(join(examples([IMAGES[0], b"another", *IMAGES[2:]]))) == 4


def test_an_image_that_cannot_be_read_any_more_has_the_reason():
    lost = examples()
    lost[2] = lost[BROKEN]
    with pytest.raises(WritingError, match=r"row 2 .*\(unreadable: no bytes\)"):
        join(lost)


@pytest.mark.parametrize("number", [len(IMAGES) - 1, len(IMAGES) + 1])
def test_images_that_are_fewer_or_more_are_counted(number):
    found = [*examples(), Example(b"", b"", -1)][:number]
    with pytest.raises(WritingError, match=f"expected 7 images, got {number}"):
        join(found)
