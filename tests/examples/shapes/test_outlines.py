import numpy as np
import pytest

from examples.shapes import outlines


def rng(seed=0):
    return np.random.default_rng(seed)


def enclosed(polygon):
    """Area by the shoelace formula."""
    x, y = polygon.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@pytest.mark.parametrize("name", outlines.OUTLINES)
def test_outlines_are_near_the_middle_and_solid(name):
    edge, *holes = outlines.OUTLINES[name]
    for polygon in (edge, *holes):
        assert np.linalg.norm(polygon, axis=1).max() <= 1.05
    assert enclosed(edge) - sum(map(enclosed, holes)) > 0.3


@pytest.mark.parametrize("name", outlines.OUTLINES)
def test_a_wobble_moves_every_point_a_little(name):
    outline = outlines.OUTLINES[name]
    for still, moved in zip(
        outlines.wobbly(outline, rng(), amount=0.0),
        outlines.wobbly(outline, rng(), amount=0.1),
        strict=True,
    ):
        distance = np.linalg.norm(still - moved, axis=1)
        assert 0 < distance.mean() < 0.2
        assert distance.max() < 0.1 * 3**0.5 + 1e-9
        # Divided edges enclose the same area.
        steps = np.linalg.norm(still - np.roll(still, 1, axis=0), axis=1)
        assert steps.max() <= 0.08 + 1e-9
    assert enclosed(outlines.wobbly(outline, rng(), amount=0.0)[0]) == pytest.approx(
        enclosed(outline[0])
    )


def test_blobs_differ():
    first, second = (outlines.blob(rng(seed))[0] for seed in (1, 2))
    assert first.shape != second.shape or not np.allclose(first, second)
