import numpy as np
import pytest
import threadpoolctl

from benchmarks.pretrained import precision
from benchmarks.pretrained.precision import DrawPrecision
from tests.classifier.probing.embeddings_of_classes import World, label


@pytest.fixture(autouse=True)
def one_thread():
    with threadpoolctl.threadpool_limits(1):
        yield


def test_as_many_images_of_each_class_are_labeled():
    images = label(*World(1, num_classes=3).draw(90, 0))
    rows = precision.choose(images, 4, seed=1)
    np.testing.assert_array_equal(np.bincount(images.labels[rows]), [4, 4, 4])
    assert len(set(rows)) == 12
    assert set(rows) != set(precision.choose(images, 4, seed=2))


def test_what_a_probe_keeps_is_what_it_is_sure_of():
    images = label(*World(3, num_classes=3).draw(600, 0))
    rows = precision.choose(images, 20, seed=1)
    nearly_all, sure = (
        precision.estimate(rows, images, target) for target in (0.1, 0.97)
    )
    assert sure.kept < nearly_all.kept
    assert sure.truth > nearly_all.truth
    assert sure.estimate >= 0.97


def test_errors_do_not_cancel_out():
    draws = [
        DrawPrecision(estimate=0.97, truth=truth, kept=0.5, covered=truth < 0.99)
        for truth in (0.95, 0.99)
    ]
    line = precision.describe(draws)
    assert "97.00% in truth, mean error 2.00 points; 1 of 2" in line
