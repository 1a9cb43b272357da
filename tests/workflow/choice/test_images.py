import io

import numpy as np
import pytest
from PIL import Image

from tests.images import write_folder, write_records
from workflow.choice import images
from workflow.choice.cost import Counts


def encode(width, height):
    buffer = io.BytesIO()
    pixels = np.zeros((height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_images_of_a_folder_are_counted_and_measured(tmp_path):
    sizes = [(40, 100), (50, 50), (300, 60)]
    write_folder(tmp_path / "labeled" / "ant", [encode(*size) for size in sizes])
    write_folder(tmp_path / "labeled" / "bee", [b"no image", encode(70, 80)])
    write_folder(tmp_path / "all", [encode(500, 500)] * 7)
    found = images.count(
        f"folder:{tmp_path}/labeled",
        f"folder:{tmp_path}/all",
        unlabeled_image_feature=None,
    )
    assert found == (Counts(labeled=5, unlabeled=7, classes=2), 55)


def test_a_sample_of_many_files_is_measured(tmp_path):
    small, large = encode(32, 32), encode(90, 96)
    write_folder(tmp_path / "a", [small] * 200)
    write_folder(tmp_path / "b", [large] * 300)
    source = images.open_source(f"folder:{tmp_path}")
    sides = list(images.shorter_sides(source))
    assert 40 <= len(sides) <= images.SAMPLE
    assert sides.count(90) > sides.count(32) > 0


def test_images_of_records_are_measured(tmp_path):
    write_records(tmp_path / "part-0", [encode(48, 64)] * 300)
    source = images.open_source(f"tfrecord:{tmp_path}/part-*")
    assert list(images.shorter_sides(source)) == [48] * images.SAMPLE


def test_a_source_without_images_is_refused(tmp_path):
    write_folder(tmp_path / "labeled" / "ant", [b"no image"])
    with pytest.raises(ValueError, match="found none"):
        images.count(f"folder:{tmp_path}/labeled", None, unlabeled_image_feature=None)
