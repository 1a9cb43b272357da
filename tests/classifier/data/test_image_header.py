import io
import random
import struct
import unittest.mock
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from classifier.data import image_header, preprocessing
from classifier.data.image_header import (
    FORMATS,
    MAX_BLOCKS,
    MAX_CHUNKS,
    MAX_PARTS,
    MAX_REST,
    MAX_SCANS,
    MAX_TEXTS,
    check,
)
from stage.status import EMPTY, TOO_LARGE, UNDECODABLE
from tests.faults import forms
from tests.images import encode, random_pixels

PIXELS = random_pixels(np.random.default_rng(0), height=24, width=20)
#: Mean difference of TensorFlow's fast inverse transform of JPEGs from Pillow's.
FAST_JPEG = 3


def in_pillow(encoded):
    """Returns RGB pixels, of 16 bits the upper eight, where Pillow would clip."""
    image = Image.open(io.BytesIO(encoded), formats=FORMATS)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    with warnings.catch_warnings(action="ignore"):  # Alpha is to be left out.
        return np.asarray(image.convert("RGB")).astype(int)


def assert_same(pixels, expected, kind):
    assert pixels.shape == expected.shape
    difference = np.abs(pixels.astype(int) - expected)
    assert difference.mean() <= (FAST_JPEG if kind == "JPEG" else 0)


def animation(sizes):
    rng = np.random.default_rng(0)  # Equal frames would be stored as one.
    frames = [
        Image.fromarray(rng.integers(0, 256, size[::-1], dtype=np.uint8))
        for size in sizes
    ]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    return content.getvalue()


@pytest.mark.parametrize("name", forms.READ)
def test_what_is_not_refused_is_read_as_pillow_reads_it(name):
    encoded = forms.READ[name]
    assert check(encoded) is None
    kind, expected = name.partition(":")[0], in_pillow(encoded)
    assert_same(preprocessing.decode(encoded).numpy(), expected, kind)
    in_training = preprocessing.decode_and_crop(
        encoded, lambda shape: tf.concat([[0, 0], shape[:2]], axis=0)
    )
    assert_same(in_training.numpy(), expected, kind)


@pytest.mark.parametrize("name", forms.REFUSED)
def test_what_is_read_only_in_part_is_refused_by_name(name):
    encoded, mentions = forms.REFUSED[name]
    refusal = check(encoded)
    assert refusal.status == UNDECODABLE
    for mention in mentions:
        assert mention in refusal.reason


def test_of_damaged_images_none_is_read_otherwise():
    """JPEGs are left out: fast and exact inverse transform differ without a bound."""
    rng = random.Random(0)
    lossless = [encoded for name, encoded in forms.READ.items() if "JPEG" not in name]
    num_read = 0
    for _ in range(1500):
        encoded = bytearray(rng.choice(lossless))
        end = rng.choice((200, len(encoded)))
        for _ in range(rng.choice((1, 2, 3))):
            encoded[rng.randrange(min(end, len(encoded)))] = rng.randrange(256)
        encoded = bytes(encoded)
        if check(encoded, 100_000) is not None:
            continue
        try:
            pixels = preprocessing.decode(encoded).numpy()
        except tf.errors.InvalidArgumentError:
            continue
        num_read += 1
        assert_same(pixels, in_pillow(encoded), "damaged")
    assert num_read > 100


@pytest.mark.parametrize("kind", FORMATS)
def test_the_limit_of_pixels_holds_for_every_format(kind):
    encoded = encode(PIXELS, kind)
    assert check(encoded, 24 * 20) is None
    refusal = check(encoded, 24 * 20 - 1)
    assert refusal.status == TOO_LARGE
    assert "480" in refusal.reason and "479" in refusal.reason


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_image_passes_or_is_refused(kind):
    content = encode(PIXELS, kind)
    for length in range(1, len(content), 7):
        refusal = check(content[:length])
        assert refusal is None or refusal.status == UNDECODABLE


def test_other_bytes_are_refused():
    assert check(b"").status == EMPTY
    for content in (b"text", b"\x89PNG\r\n\x1a\n", encode(PIXELS, "TIFF")):
        assert check(content).status == UNDECODABLE


def test_all_frames_of_an_animation_count():
    content = animation([(30, 20)] * 5)
    assert Image.open(io.BytesIO(content)).n_frames == 5
    assert check(content, 5 * 30 * 20) is None
    assert check(content, 5 * 30 * 20 - 1).status == TOO_LARGE


def test_a_large_frame_behind_a_small_one_is_seen():
    content = animation([(30, 20)] * 2)
    last = content.rindex(b"\x2c\x00\x00\x00\x00")
    huge = bytearray(content)
    struct.pack_into("<HH", huge, last + 5, 30_000, 30_000)
    assert check(bytes(huge)).status == TOO_LARGE
    # Each is small, but TensorFlow makes room for the greatest height and width.
    struct.pack_into("<HH", huge, last + 5, 1, 30_000)
    assert check(bytes(huge)).status == UNDECODABLE


def test_frames_and_extensions_of_a_gif_are_limited():
    frame = forms.gif_frame(np.zeros((1, 1), np.uint8))
    colors = np.zeros((256, 3), np.uint8)
    comment = b"\x21\xfe" + b"\x01a" * (MAX_BLOCKS // 2) + b"\0"
    for parts, is_refused in {
        (frame * MAX_BLOCKS,): False,
        (frame * (MAX_PARTS + 1),): True,
        (comment, frame, comment * 9): False,
        (comment * 2, frame): True,
        (frame, comment * 21): True,
    }.items():
        refusal = check(forms.gif(*parts, colors=colors, screen=(1, 1)))
        assert (refusal is not None) == is_refused
        assert refusal is None or refusal.status == TOO_LARGE


def test_a_header_may_claim_any_size():
    content = bytearray(encode(PIXELS))
    struct.pack_into(">II", content, 16, 100_000, 100_000)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    refusal = check(bytes(content))
    assert refusal.status == TOO_LARGE and f"{100_000**2:,}" in refusal.reason


@pytest.mark.parametrize(
    "make", [forms.more_scans, forms.separate_scans, forms.scans_behind_end_mark]
)
def test_scans_are_counted_and_limited(make):
    few = check(make(20))
    assert few is None
    refusal = check(make(MAX_SCANS))
    assert refusal.status == TOO_LARGE
    assert "scans" in refusal.reason and str(MAX_SCANS) in refusal.reason


def test_many_scans_of_many_pixels_are_limited_together():
    encoded = forms.more_scans(34)
    scans, pixels = 10 + 34, forms.HEIGHT * forms.WIDTH
    enough = scans * pixels // image_header.ORDINARY_SCANS + 1
    assert check(encoded, enough) is None
    refusal = check(encoded, enough - 2)
    assert refusal.status == TOO_LARGE
    assert "scans" in refusal.reason and f"{scans * pixels:,}" in refusal.reason


def test_segments_of_a_jpeg_are_limited():
    encoded, comment = forms.jpeg(progressive=True), b"\xff\xfe\0\2"
    second = encoded.rindex(b"\xff\xda")
    for at in (20, second):
        for number, is_refused in ((900, False), (1100, True)):
            refusal = check(encoded[:at] + number * comment + encoded[at:])
            assert (refusal is not None) == is_refused
        assert refusal.status == TOO_LARGE and "segments" in refusal.reason


@pytest.mark.parametrize("filling", [b"\xff", b"\0", b"\xff\0"])
def test_bytes_between_segments_are_passed_over(filling):
    encoded = forms.jpeg()
    filled = encoded[:20] + 70_000 * filling + encoded[20:]
    assert check(filled) is None
    np.testing.assert_array_equal(
        preprocessing.decode(filled), preprocessing.decode(encoded)
    )


def test_metadata_of_a_jpeg_are_not_read():
    encoded = forms.jpeg()
    part = b"Exif\0\0" + bytes(60_000)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part
    with unittest.mock.patch.object(Image, "open") as pillow:
        assert check(encoded[:20] + 9 * segment + encoded[20:]) is None
    pillow.assert_not_called()


def test_chunks_of_a_png_are_limited():
    for number, is_refused in ((900, False), (1100, True)):
        before = number * forms.chunk(b"abCd", b"")
        refusal = check(forms.png(forms.PIXELS, 8, 2, before=before))
        assert (refusal is not None) == is_refused
    assert refusal.status == TOO_LARGE and "chunks" in refusal.reason
    # A long animation has many behind the pixels.
    for number, is_refused in ((1100, False), (MAX_CHUNKS, True)):
        after = number * forms.chunk(b"fdAT", b"1234")
        refusal = check(forms.png(forms.PIXELS, 8, 2, after=after))
        assert (refusal is not None) == is_refused
    assert refusal.status == TOO_LARGE and "chunks" in refusal.reason


@pytest.mark.parametrize("end", [b"", bytes(range(256)) * 9])
def test_what_follows_the_pixels_of_a_png_is_limited(end):
    for rest, is_refused in ((MAX_REST // 2, False), (2 * MAX_REST, True)):
        refusal = check(forms.png_with_rest(rest, end))
        assert (refusal is not None) == is_refused
    assert refusal.status == TOO_LARGE and "pixels of a PNG" in refusal.reason
    refusal = check(forms.png_with_rest(2 * MAX_REST, end), max_pixels=9)
    assert "expected at most 9" in refusal.reason


@pytest.mark.parametrize(("side", "pieces"), [(20, 1), (500, 1), (500, 5000)])
def test_random_bytes_in_the_data_of_a_png_hide_nothing(side, pieces):
    """Blocks of random bytes are where samples in equal steps would be taken."""
    step, deflate = MAX_REST // 1032, zlib.compressobj(9)
    data = deflate.compress(bytes(side * (1 + 3 * side)))
    data += deflate.flush(zlib.Z_FULL_FLUSH)
    run = deflate.compress(bytes(1028 * (step - 1500))) + deflate.flush(
        zlib.Z_FULL_FLUSH
    )
    size = step - len(run) - 5
    stored = b"\0" + struct.pack("<HH", size, size ^ 0xFFFF) + random.randbytes(size)
    data += 3 * (run + stored)
    refusal = check(forms.png_of(side, side, data, pieces))
    assert refusal.status == TOO_LARGE and "pixels of a PNG" in refusal.reason


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_compressed_texts_of_a_png_are_limited(place, kind):
    for number, is_refused in ((MAX_TEXTS, False), (MAX_TEXTS + 1, True)):
        more = {place: forms.texts(number, 9, kind)}
        refusal = check(forms.png(forms.PIXELS, 8, 2, **more))
        assert (refusal is not None) == is_refused
    assert refusal.status == TOO_LARGE and "texts" in refusal.reason
