import numpy as np
import tensorflow as tf

from classifier.training import losses


def test_cross_entropy_equals_tensorflow():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 7)).astype(np.float32)
    targets = rng.dirichlet(np.ones(7), size=5).astype(np.float32)
    expected = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    result = losses.cross_entropy(logits=logits, targets=targets)
    np.testing.assert_allclose(result, np.mean(expected), rtol=1e-6)


def test_cross_entropy_stays_finite_at_extreme_logits():
    logits = np.array([[1000.0, -1000.0]], np.float32)
    targets = np.array([[0.5, 0.5]], np.float32)
    assert np.isclose(losses.cross_entropy(logits=logits, targets=targets), 1000.0)


def test_l2_is_half_the_squared_norm():
    variables = [np.array([3.0, 4.0]), np.array([[2.0]])]
    assert np.isclose(losses.l2(variables, weight_decay=0.1), 0.5 * 0.1 * 29)


def test_l2_leaves_out_batch_norm_alone():
    assert losses.is_decayed("logits/kernel")
    assert losses.is_decayed("logits/bias")
    assert losses.is_decayed("stage1_block1_se_reduce/bias")
    assert not losses.is_decayed("stem_0_bn/gamma")
    assert not losses.is_decayed("stem_0_bn/beta")


def test_top1_is_counted_among_marked_images_too():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, 3)).astype(np.float32)
    targets = rng.dirichlet(np.ones(3), size=64).astype(np.float32)
    marked = rng.random(64) < 0.3
    found = losses.top1(
        logits=logits, batch={"target": targets, "mask/some": marked, "image": 0}
    )
    is_right = logits.argmax(-1) == targets.argmax(-1)
    assert found.keys() == {"train/top1", "train/top1_some"}
    assert np.isclose(found["train/top1"], is_right.mean())
    assert np.isclose(found["train/top1_some"], is_right[marked].mean())
