"""Thresholds, masks and losses against those of the published code.

`benchmarks.methods.semilearn_reference` has recorded them.
"""

import json

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.methods import semilearn_reference as reference
from classifier.training import consistency
from classifier.training.config import ConsistencyConfig, TrainConfig
from tests.commands import ROOT

RECORDED = json.loads(
    (ROOT / "tests" / "data" / "semilearn_consistency.json").read_text()
)
SETTINGS = {
    "fix": {"thresholds": "fixed"},
    "flex": {"thresholds": "curriculum"},
    "free": {
        "thresholds": "self_adaptive",
        "threshold_decay": reference.DECAY,
        "fairness_weight": 0.01,
    },
}
LABELED, UNLABELED = reference.NUM_LABELED, reference.NUM_UNLABELED


def make_batch(drawn):
    target = np.zeros((LABELED + UNLABELED, reference.NUM_CLASSES), np.float32)
    target[np.arange(LABELED), drawn["labels"]] = 1.0
    is_labeled = np.arange(LABELED + UNLABELED) < LABELED
    return {
        "target": tf.constant(target),
        consistency.LABELED: tf.constant(is_labeled),
        consistency.UNLABELED: tf.constant(~is_labeled),
        consistency.INDEX: tf.constant(drawn["index"].astype(np.int32)),
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_every_step_is_that_of_the_published_code(name):
    settings = ConsistencyConfig(
        threshold=reference.THRESHOLD,
        unlabeled_ratio=UNLABELED // LABELED,
        **SETTINGS[name],
    )
    config = TrainConfig(global_batch_size=LABELED + UNLABELED, consistency=settings)
    state = consistency.initial_state(
        settings, num_classes=reference.NUM_CLASSES, num_images=reference.NUM_IMAGES
    )
    confident = 0
    for step, expected in enumerate(RECORDED[name]):
        drawn = reference.draw(step)
        batch, state, _ = consistency.label_views(
            make_batch(drawn), tf.constant(drawn["weak"]), state, config
        )
        mask = np.asarray(batch[consistency.WEIGHT])[LABELED:]
        np.testing.assert_array_equal(mask, expected["mask"])
        logits = tf.constant(np.concatenate([drawn["labeled"], drawn["strong"]]))
        _, metrics = consistency.loss(logits, batch, state, settings)
        for loss in ("labeled_loss", "consistency_loss", "fairness_loss"):
            if loss in expected:
                found = float(metrics[f"train/{loss}"])
                assert found == pytest.approx(expected[loss], rel=1e-6, abs=1e-6)
        if "thresholds" in expected:
            relative = state["probabilities"] / np.max(state["probabilities"])
            thresholds = np.asarray(relative * state["confidence"])
            np.testing.assert_allclose(thresholds, expected["thresholds"], rtol=1e-6)
        confident += sum(expected["mask"])
    assert 0 < confident < len(RECORDED[name]) * UNLABELED
