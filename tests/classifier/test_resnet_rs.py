import math

import numpy as np
import pytest
import tensorflow as tf

from classifier.config import ModelConfig
from classifier.resnet_rs import StochasticDepth, build_resnet_rs

#: Trainable weights and batch-norm channels at 1000 classes, counted from the graph
#: of the code that the paper's networks were trained with.
PUBLISHED = {
    "resnet_rs_50": (35_691_912, 26_688),
    "resnet_rs_101": (63_618_696, 52_800),
    "resnet_rs_152": (86_621_576, 75_840),
    "resnet_rs_200": (93_209_992, 88_128),
    "resnet_rs_270": (129_861_448, 121_536),
    "resnet_rs_350": (163_956_168, 156_096),
    "resnet_rs_420": (191_891_656, 185_280),
}
TINY = ModelConfig(
    name="resnet_rs_14",
    width_multiplier=0.125,
    dropout_rate=0.0,
    stochastic_depth_rate=0.0,
)


def count(variables):
    return sum(math.prod(v.shape) for v in variables)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published_count_to_the_last_weight(name):
    model = build_resnet_rs(ModelConfig(name=name), image_size=160, num_classes=1000)
    parameters, channels = PUBLISHED[name]
    assert count(model.trainable_variables) == parameters
    moving = [v for v in model.non_trainable_variables if "moving" in v.path]
    assert count(moving) == 2 * channels


def test_every_parameter_gets_a_gradient():
    model = build_resnet_rs(TINY, image_size=64, num_classes=5)
    for variable in model.trainable_variables:
        if variable.path.endswith("gamma"):
            variable.assign(tf.ones_like(variable))  # A zero one blocks its branch.
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(0, 256, (4, 64, 64, 3)), tf.uint8)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True)[:, 0])
    gradients = tape.gradient(loss, model.trainable_variables)
    dead = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.any(gradient)
    ]
    # Of the head only class 0 was asked for; its gradient is not zero as a whole.
    assert dead == []


def test_last_gamma_of_every_block_starts_at_zero():
    model = build_resnet_rs(TINY, image_size=32, num_classes=5)
    gammas = {v.path: v.numpy() for v in model.trainable_variables if "gamma" in v.path}
    for path, gamma in gammas.items():
        assert np.all(gamma == (0.0 if "expand_bn" in path else 1.0)), path


def test_logits_are_float32_and_evaluation_is_deterministic():
    noisy = ModelConfig(
        name="resnet_rs_14", width_multiplier=0.125, stochastic_depth_rate=0.5
    )
    model = build_resnet_rs(noisy, image_size=32, num_classes=7)
    images = tf.zeros((2, 32, 32, 3), tf.uint8)
    first, second = (model(images, training=False) for _ in range(2))
    assert first.shape == (2, 7)
    assert first.dtype == tf.float32
    np.testing.assert_array_equal(first, second)


def test_the_same_seed_gives_the_same_weights():
    weights = [
        build_resnet_rs(TINY, image_size=32, num_classes=5, seed=seed).get_weights()
        for seed in (3, 3, 4)
    ]
    for first, second in zip(weights[0], weights[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert any(np.any(a != b) for a, b in zip(weights[0], weights[2], strict=True))


def test_stochastic_depth_drops_whole_examples_and_scales_the_others():
    layer = StochasticDepth(0.25, seed=0)
    dropped = layer(tf.ones((4000, 2, 2, 3)), training=True).numpy()
    per_example = dropped.reshape(4000, -1)
    assert np.all(per_example == per_example[:, :1])
    values, counts = np.unique(per_example[:, 0], return_counts=True)
    np.testing.assert_allclose(values, [0.0, 1 / 0.75], rtol=1e-6)
    # 4000 draws at 0.25: four standard deviations are 0.027.
    assert counts[0] / 4000 == pytest.approx(0.25, abs=0.028)


def test_stochastic_depth_is_the_identity_in_evaluation():
    images = tf.random.stateless_normal((2, 4, 4, 3), seed=[0, 0])
    np.testing.assert_array_equal(StochasticDepth(0.9)(images, training=False), images)


def test_stochastic_depth_rate_grows_by_stage():
    config = ModelConfig(name="resnet_rs_50", stochastic_depth_rate=0.1)
    model = build_resnet_rs(config, image_size=32, num_classes=2)
    blocks = [f"stage{i}_block1" for i in (1, 2, 3, 4)]
    rates = [model.get_layer(b).get_layer(f"{b}_drop").rate for b in blocks]
    np.testing.assert_allclose(rates, [0.04, 0.06, 0.08, 0.10])
