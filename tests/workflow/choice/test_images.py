import io

import numpy as np
from PIL import Image

from tests.images import write_folder
from workflow.choice import images
from workflow.choice.cost import Counts


def encode(width, height):
    buffer = io.BytesIO()
    pixels = np.zeros((height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_images_of_folders_are_counted_and_labeled_ones_measured(tmp_path):
    write_folder(tmp_path / "labeled" / "ant", [encode(40, 100)] * 2)
    write_folder(tmp_path / "labeled" / "bee", [b"no image"])
    write_folder(tmp_path / "all", [encode(500, 500)] * 7)
    found = images.count(
        f"folder:{tmp_path}/labeled",
        f"folder:{tmp_path}/all",
        unlabeled_image_feature=None,
    )
    assert found == (Counts(labeled=3, unlabeled=7, classes=2), 40)
