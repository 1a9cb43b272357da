import numpy as np
import pytest
from PIL import Image

from examples.photographs import parts


@pytest.fixture(scope="module")
def photographs():
    return parts.load_photographs(seed=1)


def test_the_cells_divide_each_photograph(photographs):
    assert tuple(photographs) == parts.CLASS_NAMES
    for photograph in photographs.values():
        assert min(photograph.image.size) == parts.LENGTH
        assert photograph.image.mode == "RGB"
        shown = np.zeros(photograph.image.size, int)
        for left, upper, right, lower in (*photograph.test, *photograph.labeled):
            shown[left:right, upper:lower] += 1
        np.testing.assert_array_equal(shown, 1)


def test_each_row_and_column_has_a_cell_to_test_on(photographs):
    for photograph in photographs.values():
        lefts, uppers, *_ = zip(*photograph.test, strict=True)
        assert len(set(lefts)) == len(set(uppers)) == parts.CELLS


def test_unlabeled_pictures_show_all_cells(photographs):
    photograph = photographs["cat"]
    test, labeled, unlabeled = map(photograph.cells, ("test", "labeled", "all"))
    assert not set(test) & set(labeled)
    assert set(unlabeled) == {*test, *labeled}


def test_the_seed_chooses_the_cells():
    found = {parts.load_photographs(seed=seed)["cat"].test for seed in range(8)}
    assert len(found) > 2


def test_a_part_shows_no_pixel_outside_its_cell():
    """The cell is black, the rest of the photograph white."""
    pixels = np.full((480, 480, 3), 255, np.uint8)
    cell = (160, 0, 320, 160)
    pixels[0:160, 160:320] = 0
    image = Image.fromarray(pixels)
    for seed in range(50):
        part = parts.draw_part(image, cell, np.random.default_rng(seed))
        assert part.size == (parts.SIZE, parts.SIZE)
        assert np.asarray(part).max() == 0


def test_the_colors_of_parts_differ():
    image = Image.new("RGB", (480, 480), (160, 120, 80))
    means = np.array(
        [
            np.asarray(
                parts.draw_part(image, (0, 0, 160, 160), np.random.default_rng(seed))
            ).mean((0, 1))
            for seed in range(60)
        ]
    )
    order = np.unique(means.argsort(axis=1), axis=0)
    assert len(order) > 3  # Not the largest intensity is always red's.
    darkest, brightest = parts.TINTS
    assert (means >= 80 * darkest - 1).all()
    assert (means <= 160 * brightest + 1).all()


def test_a_part_depends_on_the_generator_alone(photographs):
    photograph = photographs["rocket"]
    first, second = (
        parts.draw_part(photograph.image, photograph.test[0], np.random.default_rng(3))
        for _ in range(2)
    )
    assert first.tobytes() == second.tobytes()
