"""Thresholds and losses, against NumPy transcriptions of the papers' formulas."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from classifier.training import consistency
from classifier.training.config import ConsistencyConfig, TrainConfig

NUM_CLASSES, NUM_IMAGES, NUM_LABELED, RATIO = 4, 30, 4, 3
NUM_UNLABELED = NUM_LABELED * RATIO
SIZE = NUM_LABELED + NUM_UNLABELED


def make_config(groups=1, **settings):
    settings = ConsistencyConfig(unlabeled_ratio=RATIO, **settings)
    base = TrainConfig(global_batch_size=SIZE, consistency=settings)
    model = dataclasses.replace(base.model, batch_norm_groups=groups)
    return dataclasses.replace(base, model=model)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def make_batch(rng, groups=1):
    """A batch whose groups have their labeled images first."""
    is_labeled = np.arange(SIZE // groups) < NUM_LABELED // groups
    is_labeled = np.tile(is_labeled, groups)
    target = np.zeros((SIZE, NUM_CLASSES), np.float32)
    labels = rng.integers(0, NUM_CLASSES, NUM_LABELED)
    target[is_labeled] = np.eye(NUM_CLASSES)[labels] * 0.9 + 0.1 / NUM_CLASSES
    arrays = {
        "target": target,
        consistency.LABELED: is_labeled,
        consistency.UNLABELED: ~is_labeled,
        # With repetitions, as across the end of an epoch.
        consistency.INDEX: rng.integers(0, NUM_IMAGES, NUM_UNLABELED).astype(np.int32),
    }
    return {name: tf.constant(array) for name, array in arrays.items()}


def floats(metrics):
    return {name: float(value) for name, value in metrics.items()}


def compute_loss(logits, batch, state, config):
    loss, metrics = consistency.loss(tf.constant(logits), batch, state, config)
    return float(loss), floats(metrics)


def make_logits(rng, count, scale=3.0):
    return (scale * rng.standard_normal((count, NUM_CLASSES))).astype(np.float32)


def start(config):
    return consistency.initial_state(
        config.consistency, num_classes=NUM_CLASSES, num_images=NUM_IMAGES
    )


def steps(config, count=8, seed=0):
    """Yields what each of some steps was given and has returned."""
    rng, state = np.random.default_rng(seed), start(config)
    for _ in range(count):
        batch = make_batch(rng, config.batch_parts)
        logits = make_logits(rng, NUM_UNLABELED)
        found, state, metrics = consistency.label_views(
            batch, tf.constant(logits), state, config
        )
        counts = found[consistency.WEIGHT].numpy()[found[consistency.UNLABELED]]
        index = batch[consistency.INDEX].numpy()
        yield softmax(logits), index, counts, state, floats(metrics)


def test_a_fixed_threshold_is_that_of_fixmatch():
    for probabilities, _, counts, state, metrics in steps(make_config(threshold=0.8)):
        np.testing.assert_array_equal(counts, probabilities.max(-1) >= 0.8)
        assert state == {}
        assert metrics["train/confident"] == pytest.approx(counts.mean())
        confidence = probabilities.max(-1).mean()
        assert metrics["train/confidence"] == pytest.approx(confidence, rel=1e-5)
        assert metrics["train/threshold"] == pytest.approx(0.8)


@pytest.mark.parametrize("warmup", [True, False])
def test_the_curriculum_is_that_of_flexmatch(warmup):
    """Algorithm 1 of the paper: image by image, and class by class."""
    tau = 0.7
    config = make_config(
        thresholds="curriculum", threshold=tau, threshold_warmup=warmup
    )
    status = [-1] * NUM_IMAGES
    shares = []
    for probabilities, index, counts, state, _ in steps(config, count=12):
        sigma = [sum(s == c for s in status) for c in range(NUM_CLASSES)]
        most = max(sigma)
        if warmup:
            most = max(most, sum(s == -1 for s in status))
        beta = [s / most if most else 0.0 for s in sigma]
        thresholds = [b / (2 - b) * tau for b in beta]
        for n, row in enumerate(probabilities):
            label = int(row.argmax())
            assert counts[n] == (row[label] >= thresholds[label])
            if row[label] >= tau:
                status[index[n]] = label
        assert state["last_label"].numpy().tolist() == status
        shares.append(counts.mean())
    assert min(shares[3:]) < 1.0


def test_adaptive_thresholds_are_those_of_freematch():
    """Equations 5 to 8 of the paper."""
    config = make_config(thresholds="self_adaptive", threshold_decay=0.6)
    tau, p_tilde = 1 / NUM_CLASSES, np.full(NUM_CLASSES, 1 / NUM_CLASSES)
    h_tilde, shares = p_tilde.copy(), []
    for q, _, counts, state, metrics in steps(config):
        tau = 0.6 * tau + 0.4 * q.max(-1).mean()
        p_tilde = 0.6 * p_tilde + 0.4 * q.mean(0)
        histogram = np.bincount(q.argmax(-1), minlength=NUM_CLASSES) / len(q)
        h_tilde = 0.6 * h_tilde + 0.4 * histogram
        threshold = (p_tilde / p_tilde.max() * tau)[q.argmax(-1)]
        np.testing.assert_array_equal(counts, q.max(-1) >= threshold)
        assert float(state["confidence"]) == pytest.approx(tau, rel=1e-5)
        np.testing.assert_allclose(state["probabilities"], p_tilde, rtol=1e-5)
        np.testing.assert_allclose(state["label_shares"], h_tilde, rtol=1e-5)
        assert metrics["train/threshold"] == pytest.approx(threshold.mean(), rel=1e-5)
        shares.append(counts.mean())
    assert 0.0 < np.mean(shares) < 1.0


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_targets_are_at_the_places_of_their_images(groups):
    config = make_config(groups, threshold=0.8)
    rng = np.random.default_rng(1)
    batch, logits = make_batch(rng, groups), make_logits(rng, NUM_UNLABELED)
    found, _, _ = consistency.label_views(batch, tf.constant(logits), {}, config)
    mask = batch[consistency.UNLABELED].numpy()
    hard = np.eye(NUM_CLASSES)[logits.argmax(-1)]
    np.testing.assert_array_equal(found["target"].numpy()[mask], hard)
    np.testing.assert_array_equal(
        found["target"].numpy()[~mask], batch["target"].numpy()[~mask]
    )
    counts = found[consistency.WEIGHT].numpy()
    np.testing.assert_array_equal(counts[mask], softmax(logits).max(-1) >= 0.8)
    assert (counts[~mask] == 1).all()


@pytest.mark.parametrize(
    ("kind", "power"), [("soft", 1.0), ("sharpened", 1 / 0.5), ("hard", np.inf)]
)
def test_targets_by_kind(kind, power):
    rng = np.random.default_rng(2)
    batch, logits = make_batch(rng), make_logits(rng, NUM_UNLABELED)
    found, _, _ = consistency.label_views(
        batch, tf.constant(logits), {}, make_config(target_kind=kind)
    )
    p = softmax(logits)
    expected = (p / p.max(-1, keepdims=True)) ** power
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(
        found["target"][NUM_LABELED:], expected, rtol=1e-4, atol=1e-6
    )


def test_the_loss_is_that_of_fixmatch():
    """Equations 3 and 4 of the paper: sums over B and over mu B images."""
    config = make_config(threshold=0.8, weight=0.5)
    rng = np.random.default_rng(3)
    batch, weak = make_batch(rng), make_logits(rng, NUM_UNLABELED)
    logits = make_logits(rng, SIZE)
    with tf.GradientTape() as tape:
        views = tf.constant(weak)
        tape.watch(views)
        found, state, _ = consistency.label_views(batch, views, {}, config)
        loss, metrics = consistency.loss(
            tf.constant(logits), found, state, config.consistency
        )
    assert tape.gradient(loss, views) is None
    loss, metrics = float(loss), floats(metrics)
    log = np.log(softmax(logits))
    labeled = -(batch["target"].numpy() * log).sum(-1)[:NUM_LABELED].sum() / NUM_LABELED
    unlabeled = 0.0
    for row, q in zip(log[NUM_LABELED:], softmax(weak), strict=True):
        unlabeled -= row[q.argmax()] * (q.max() >= 0.8) / NUM_UNLABELED
    assert unlabeled > 0
    assert loss == pytest.approx(labeled + 0.5 * unlabeled, rel=1e-5)
    assert metrics["train/labeled_loss"] == pytest.approx(labeled, rel=1e-5)
    assert metrics["train/consistency_loss"] == pytest.approx(unlabeled, rel=1e-5)


def test_a_batch_of_labeled_images_has_its_mean_loss():
    logits = make_logits(np.random.default_rng(4), 3)
    target = np.eye(NUM_CLASSES, dtype=np.float32)[[0, 2, 1]]
    batch = {"target": tf.constant(target)}
    loss, metrics = compute_loss(logits, batch, {}, ConsistencyConfig())
    expected = -np.log(softmax(logits))[[0, 1, 2], [0, 2, 1]].mean()
    assert loss == pytest.approx(expected, rel=1e-5)
    assert metrics == {}


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_fairness_is_that_of_freematch(decay):
    """Equations 9 to 11 of the paper, where a class that is not there counts 0."""
    config = make_config(
        thresholds="self_adaptive", fairness_weight=0.05, threshold_decay=decay
    )
    rng = np.random.default_rng(5)
    batch, weak = make_batch(rng), make_logits(rng, NUM_UNLABELED)
    logits = make_logits(rng, SIZE)
    logits[:, 3] = -9.0  # No image is of the last class.
    found, state, _ = consistency.label_views(
        batch, tf.constant(weak), start(config), config
    )
    loss, metrics = compute_loss(logits, found, state, config.consistency)

    def sum_norm(values):
        return values / values.sum()

    mask = found[consistency.WEIGHT].numpy()[NUM_LABELED:] == 1
    assert mask.any()
    big_q = softmax(logits)[NUM_LABELED:][mask]
    h_bar = np.bincount(big_q.argmax(-1), minlength=NUM_CLASSES) / len(big_q)
    assert h_bar[3] == 0
    p_tilde, h_tilde = (
        state[name].numpy() for name in ("probabilities", "label_shares")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = sum_norm(np.where(h_tilde > 0, p_tilde / h_tilde, 0))
        ratio = sum_norm(np.where(h_bar > 0, big_q.mean(0) / h_bar, 0))
    fairness = (expected * np.log(ratio + 1e-12)).sum()
    assert metrics["train/fairness_loss"] == pytest.approx(fairness, rel=1e-4)
    rest = metrics["train/labeled_loss"] + metrics["train/consistency_loss"]
    assert loss == pytest.approx(rest + 0.05 * fairness, rel=1e-4)


def test_without_a_confident_image_there_is_no_unlabeled_loss():
    config = make_config(
        thresholds="self_adaptive", fairness_weight=0.05, threshold_decay=0.9999
    )
    rng = np.random.default_rng(6)
    batch, logits = make_batch(rng), tf.Variable(make_logits(rng, SIZE))
    state = {**start(config), "confidence": np.float32(1.0)}
    soft = make_logits(rng, NUM_UNLABELED, scale=0.1)
    found, state, metrics = consistency.label_views(
        batch, tf.constant(soft), state, config
    )
    assert metrics["train/confident"] == 0
    with tf.GradientTape() as tape:
        loss, metrics = consistency.loss(logits, found, state, config.consistency)
    assert loss == metrics["train/labeled_loss"] > 0
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient[NUM_LABELED:] == 0).all()
    assert (gradient[:NUM_LABELED] != 0).any()
