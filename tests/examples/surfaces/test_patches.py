import numpy as np
import pytest
from PIL import Image

from examples.surfaces import patches


@pytest.fixture(scope="module")
def photographs():
    return patches.load_photographs(seed=1)


class ConstantGenerator:
    """Draws the same share of every range."""

    def __init__(self, share):
        self._share = share

    def uniform(self, low, high):
        assert low <= high
        return low + self._share * (high - low)


def area(box):
    left, upper, right, lower = box
    return (right - left) * (lower - upper)


def test_test_patches_come_from_a_part_of_their_own(photographs):
    assert list(photographs) == list(patches.PHOTOGRAPHS)
    for of_class in photographs.values():
        for photograph in of_class:
            shown = np.zeros(photograph.image.size, int)
            for left, upper, right, lower in (photograph.test, photograph.rest):
                shown[left:right, upper:lower] += 1
            np.testing.assert_array_equal(shown, 1)
            share = area(photograph.test) / shown.size
            assert share == pytest.approx(patches.TEST_SHARE, abs=0.01)


def test_the_seed_chooses_the_ends():
    boxes = {patches.load_photographs(seed=seed)["brick"][0].test for seed in range(8)}
    assert len(boxes) == 2


def test_every_part_has_room_for_patches_of_all_sizes():
    """The smallest part, a page's, has not quite room for the largest."""
    for seed in range(4):
        for of_class in patches.load_photographs(seed=seed).values():
            for photograph in of_class:
                for box in (photograph.test, photograph.rest):
                    for share in (0.0, 1.0):
                        rng = ConstantGenerator(share)
                        patches.draw_patch(photograph.image, box, rng)


def test_a_patch_shows_no_pixel_outside_its_part():
    """The part is black, the rest of the photograph white."""
    pixels = np.full((200, 300), 255, np.uint8)
    box = (90, 40, 210, 160)
    pixels[40:160, 90:210] = 0
    image = Image.fromarray(pixels)
    for seed in range(50):
        patch = patches.draw_patch(image, box, np.random.default_rng(seed))
        assert patch.size == (patches.SIZE, patches.SIZE)
        assert np.asarray(patch).max() == 0


def test_patches_of_a_bright_surface_are_darkened():
    image = Image.fromarray(np.full((200, 200), 200, np.uint8))
    means = [
        np.asarray(
            patches.draw_patch(image, (0, 0, 200, 200), np.random.default_rng(seed))
        ).mean()
        for seed in range(60)
    ]
    assert 200 * patches.DARKEST - 1 <= min(means) < 80
    assert 160 < max(means) <= 200
