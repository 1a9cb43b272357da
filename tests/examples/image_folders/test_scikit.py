import sys

import numpy as np
import pytest
import skimage.data

from examples.image_folders.scikit import load_photograph
from tests.commands import call


def test_of_a_disk_the_inside_is_shown():
    shown, whole = np.asarray(load_photograph("retina")), skimage.data.retina()
    black, black_of_whole = (
        (pixels.max(axis=2) < 8).mean() for pixels in (shown, whole)
    )
    assert black < 0.02
    assert black_of_whole > 0.1


@pytest.mark.parametrize("name", ["stereo_motorcycle", "flower.jpg"])
def test_a_photograph_has_colors(name):
    assert load_photograph(name).mode == "RGB"


def test_without_scikit_image_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    process = call("examples.surfaces.prepare", f"--output={tmp_path / 'textures'}")
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert ".[surfaces]" in process.stderr
