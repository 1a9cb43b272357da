import io

import numpy as np
import pytest
from PIL import Image

from workflow.digits import digits_dataset_builder as digits


def draw(**kwargs):
    _, labels = digits.load_images()
    return labels, digits.draw_splits(labels, **{"labels_per_class": 5, **kwargs})


def test_the_splits_are_every_image_once():
    labels, splits = draw(seed=3)
    everything = np.concatenate(list(splits.values()))
    np.testing.assert_array_equal(np.sort(everything), np.arange(1797))
    assert len(splits["test"]) == 600
    np.testing.assert_array_equal(np.bincount(labels[splits["labeled"]]), [5] * 10)


def test_the_test_set_depends_on_the_seed_alone():
    _, few = draw(seed=1)
    _, many = draw(seed=1, labels_per_class=20)
    _, other = draw(seed=2)
    np.testing.assert_array_equal(few["test"], many["test"])
    assert set(few["test"]) != set(other["test"])
    assert set(few["labeled"]) < set(many["labeled"])


def test_images_to_calibrate_on_come_from_the_unlabeled_ones():
    _, without = draw(seed=1)
    _, splits = draw(seed=1, calibration_images=200)
    assert "calibration" not in without
    assert len(splits["calibration"]) == 200
    np.testing.assert_array_equal(splits["test"], without["test"])
    np.testing.assert_array_equal(splits["labeled"], without["labeled"])
    both = np.concatenate([splits["calibration"], splits["unlabeled"]])
    np.testing.assert_array_equal(np.sort(both), np.sort(without["unlabeled"]))
    with pytest.raises(ValueError, match=r"calibration_images.*1147"):
        draw(seed=1, calibration_images=1147)


@pytest.mark.parametrize("labels_per_class", [0, 1000])
def test_too_many_labels_are_refused(labels_per_class):
    with pytest.raises(ValueError, match="labels_per_class"):
        draw(seed=0, labels_per_class=labels_per_class)


def test_png_files_hold_the_scans():
    images, _ = digits.load_images()
    assert images.shape == (1797, 8, 8, 3)
    assert images.max() == 255
    decoded = Image.open(io.BytesIO(digits.encode_png(images[7])))
    np.testing.assert_array_equal(np.asarray(decoded), images[7])
