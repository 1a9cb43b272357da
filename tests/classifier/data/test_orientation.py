import io

import pytest
from PIL import Image

from classifier.data import orientation
from classifier.data.inspection import inspect
from classifier.data.sources import open_source
from tests.images import random_images, write_folder


def encode(kind, value=None):
    """An image that is, or is not, to be turned as EXIF says."""
    exif = Image.Exif()
    exif[0x010E] = "a description"
    if value is not None:
        exif[0x0112] = value
    content = io.BytesIO()
    Image.new("RGB", (40, 30)).save(content, kind, exif=exif)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_orientation_but_the_upright_one_is_turned(kind):
    found = {value: orientation.is_turned(encode(kind, value)) for value in range(1, 9)}
    assert found == {value: value > 1 for value in range(1, 9)}


@pytest.mark.parametrize("value", [None, 0, 9, 999])
def test_other_values_are_upright(value):
    assert not orientation.is_turned(encode("JPEG", value))


def test_exif_data_may_follow_other_metadata():
    whole = encode("JPEG", 6)
    comment = b"\xff\xfe\x00\x06text"
    assert orientation.is_turned(whole[:2] + comment * 3 + whole[2:])
    for end in range(len(whole)):
        orientation.is_turned(whole[:end])


def test_images_without_exif_data_and_broken_data_are_upright():
    for image in random_images(1):
        assert not orientation.is_turned(image)
    whole = encode("JPEG", 6)
    start = whole.index(b"Exif\0\0")
    for size in range(1, 40):
        damaged = whole[: start + 6] + b"\xff" * size + whole[start + 6 + size :]
        assert orientation.is_turned(damaged) in (False, True)
    assert not orientation.is_turned(whole[: start + 8])
    assert not orientation.is_turned(b"Exif\0\0")


def test_the_turned_images_of_a_source_are_counted(tmp_path):
    images = [encode("JPEG", 6), encode("JPEG", 1), encode("WEBP", 3), b"text"]
    write_folder(tmp_path, images, [0, 0, 1, 1])
    assert inspect(open_source(f"folder:{tmp_path}")).num_turned == 2
