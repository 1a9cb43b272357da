"""Heads, and whether the precision of their labels is known without further images."""

import numpy as np
import pytest
import threadpoolctl

from classifier.inference import calibration
from classifier.inference.probabilities import softmax
from classifier.probing import probe
from classifier.probing.config import ProbeConfig
from pseudo_label.selection import precision
from tests.classifier.probing.embeddings_of_classes import World, label

CONFIG = ProbeConfig(smallest_c=1e-3, largest_c=10.0)
#: Share of labels that should be right.
TARGET = 0.95


@pytest.fixture(autouse=True)
def one_thread():
    with threadpoolctl.threadpool_limits(1):
        yield


def test_the_head_learns_from_all_and_each_image_is_predicted_once():
    embeddings, labels = World(0).draw(60, 0)
    found = probe.fit(label(embeddings, labels), CONFIG)
    assert (found.head.logits(embeddings).argmax(axis=1) == labels).mean() > 0.9
    keys = [key for part in found.predicted for key in part.keys]
    assert sorted(keys, key=int) == [str(row) for row in range(60)]
    for part in found.predicted:
        assert part.logits.shape == (1, len(part.keys), 5)
        np.testing.assert_array_equal(part.labels, labels[[int(k) for k in part.keys]])
    assert "60 labeled images, 32 features, C = " in found.lines[0]


def test_the_only_images_of_their_class_are_not_predicted():
    embeddings, labels = World(0).draw(60, 0)
    labels[labels == 4] = 3
    labels[7:9] = 4
    contents = [7 if row == 8 else row for row in range(60)]
    found = probe.fit(label(embeddings, labels, contents), CONFIG)
    keys = {key for part in found.predicted for key in part.keys}
    assert keys == {str(row) for row in range(60)} - {"7", "8"}
    assert found.lines[1].endswith("for their class: 2 of the images")


def test_names_are_compared_without_learning():
    rows = np.eye(3, 4, dtype=np.float32)
    images = label(np.eye(4, dtype=np.float32)[[2, 0]], [2, 1])
    found = probe.compare_names(rows, images)
    (part,) = found.predicted
    assert (found.kind, part.fold, part.keys) == ("held_out", None, ["0", "1"])
    np.testing.assert_array_equal(part.logits[0], [[0, 0, 100], [100, 0, 0]])
    alone = probe.compare_names(rows, None)
    assert not alone.predicted
    assert "100" in alone.lines[0]


def estimate_and_truth(seed, num_labels, directory):
    """The estimated precision of the labels that are kept, and the true one."""
    world = World(seed, size=64, spread=1.2)
    found = probe.fit(label(*world.draw(num_labels, seed + 1)), CONFIG)
    facts = calibration.write(
        directory,
        {"kind": found.kind, "teachers": [], "class_names": []},
        found.predicted,
    )
    calibrated = precision.read_calibration(directory)
    threshold = precision.threshold_for(calibrated, TARGET)
    estimate = precision.precision_above(calibrated, np.full(5, threshold, np.float32))
    unseen, truth = world.draw(5_000, seed + 2)
    logits = found.head.logits(unseen)
    probabilities = softmax(logits / np.float32(facts["temperature"]))
    is_kept = probabilities.max(axis=1) >= threshold
    is_right = probabilities.argmax(axis=1) == truth
    return estimate, is_right[is_kept].mean()


@pytest.mark.slow
@pytest.mark.parametrize(("num_labels", "bound"), [(50, 0.03), (200, 0.015)])
def test_the_precision_of_kept_labels_is_known(tmp_path, num_labels, bound):
    """Seen: errors of 1.3, 0.7 and 0.3 points with 50, 200 and 1,000 labels."""
    found = [estimate_and_truth(100 * seed, num_labels, tmp_path) for seed in range(20)]
    estimates = np.array([estimate.estimate for estimate, _ in found])
    truths = np.array([truth for _, truth in found])
    assert np.abs(estimates - truths).mean() < bound
    assert abs((estimates - truths).mean()) < bound / 2
    assert sum(e.low <= truth <= e.high for e, truth in found) >= 17
