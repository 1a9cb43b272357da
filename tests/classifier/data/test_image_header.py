import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from classifier.data.image_header import FORMATS, claimed_pixels
from tests.images import encode, random_pixels

PIXELS = random_pixels(np.random.default_rng(0), height=24, width=20)


def animation(sizes):
    rng = np.random.default_rng(0)  # Equal frames would be stored as one.
    frames = [
        Image.fromarray(rng.integers(0, 256, size[::-1], dtype=np.uint8))
        for size in sizes
    ]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    return content.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_states_its_size(kind):
    assert claimed_pixels(encode(PIXELS, kind)) == 24 * 20


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_image_states_its_size_or_nothing(kind):
    content = encode(PIXELS, kind)
    for length in range(0, len(content), 7):
        assert claimed_pixels(content[:length]) in (None, 24 * 20)


def test_other_bytes_state_no_size():
    for content in (b"", b"text", b"\x89PNG\r\n\x1a\n", encode(PIXELS, "TIFF")):
        assert claimed_pixels(content) is None


def test_all_frames_of_an_animation_count():
    content = animation([(30, 20)] * 5)
    assert Image.open(io.BytesIO(content)).n_frames == 5
    assert claimed_pixels(content) == 5 * 30 * 20


def test_a_large_frame_behind_a_small_one_is_seen():
    content = animation([(30, 20)] * 2)
    last = content.rindex(b"\x2c\x00\x00\x00\x00")
    huge = bytearray(content)
    struct.pack_into("<HH", huge, last + 5, 30_000, 30_000)
    assert claimed_pixels(bytes(huge)) >= 30_000**2


def test_a_header_may_claim_any_size():
    content = bytearray(encode(PIXELS))
    struct.pack_into(">II", content, 16, 100_000, 100_000)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    assert claimed_pixels(bytes(content)) == 100_000**2
