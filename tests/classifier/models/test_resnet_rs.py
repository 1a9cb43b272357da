"""The architecture of ResNet-RS, its initial weights and its own layers."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier.models.config import ModelConfig
from classifier.models.factory import named_variables
from classifier.models.resnet_rs import (
    GroupedBatchNormalization,
    StochasticDepth,
    build_resnet_rs,
)

TINY = ModelConfig(
    name="resnet_rs_14",
    width_multiplier=0.125,
    dropout_rate=0.0,
    stochastic_depth_rate=0.0,
)


def flatten(model):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flatten(layer)
        else:
            yield layer


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
    # The head's gradient is zero except for class 0.
    assert dead == []


def test_last_gamma_of_every_block_starts_at_zero():
    model = build_resnet_rs(TINY, image_size=32, num_classes=5)
    gammas = {v.path: v.numpy() for v in model.trainable_variables if "gamma" in v.path}
    for path, gamma in gammas.items():
        assert np.all(gamma == (0.0 if "expand_bn" in path else 1.0)), path


def test_initial_weights_have_the_published_scales():
    model = build_resnet_rs(
        dataclasses.replace(TINY, width_multiplier=1.0), image_size=32, num_classes=9
    )
    kernels = {v.path: v.numpy() for v in model.variables if "kernel" in v.path}
    head = kernels.pop("logits/kernel")
    assert head.std() == pytest.approx(0.01, rel=0.05)
    for path, kernel in kernels.items():
        # Variance scaling: 1 over the inputs of an output. Few weights, wide bounds.
        expected = np.prod(kernel.shape[:3]) ** -0.5
        assert kernel.std() == pytest.approx(expected, rel=0.1), path
        # Truncated at two deviations of what the truncation then narrows.
        assert np.abs(kernel).max() <= 2 * expected / 0.87962566 + 1e-6
    biases = [v.numpy() for v in model.variables if "bias" in v.path]
    assert len(biases) == 2 * 4 + 1
    assert not any(np.any(bias) for bias in biases)


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


def test_batch_norm_keeps_the_statistics_of_the_last_batch_alone():
    model = build_resnet_rs(TINY, image_size=32, num_classes=5)
    rng = np.random.default_rng(0)
    for _ in range(2):
        images = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
        model(images, training=True)
    first_conv = keras.Model(model.inputs[0], model.get_layer("stem_0_conv").output)
    outputs = first_conv(images).numpy().reshape(-1, 4)
    running = model.get_layer("stem_0_bn")
    assert running.epsilon == 1e-5
    np.testing.assert_allclose(running.moving_mean, outputs.mean(0), atol=1e-5)
    np.testing.assert_allclose(running.moving_variance, outputs.var(0), rtol=1e-4)


def test_every_batch_norm_has_the_momentum_of_the_config():
    config = dataclasses.replace(TINY, batch_norm_momentum=0.9)
    model = build_resnet_rs(config, image_size=32, num_classes=5)
    layers = [layer for layer in flatten(model) if "_bn" in layer.name]
    assert len(layers) == 4 + 4 * 4
    assert {layer.momentum for layer in layers} == {0.9}


def test_the_plain_resnet_has_its_stem_shortcut_and_no_squeeze_excitation():
    config = dataclasses.replace(TINY, resnet_d=False, se_ratio=0.0)
    model = build_resnet_rs(config, image_size=64, num_classes=5)
    layers = {layer.name: layer for layer in flatten(model)}
    assert layers["stem_conv"].kernel_size == (7, 7)
    assert layers["stem_conv"].strides == (2, 2)
    assert isinstance(layers["stem_pool"], keras.layers.MaxPooling2D)
    assert not any("_se_" in name or "shortcut_pool" in name for name in layers)
    assert layers["stage2_block1_shortcut_conv"].strides == (2, 2)
    assert layers["stage1_block1_shortcut_conv"].strides == (1, 1)
    assert layers["stage4_block1_relu"].output.shape == (None, 2, 2, 256)


@pytest.mark.parametrize("resnet_d", [True, False])
def test_the_stride_is_on_the_3x3_convolution(resnet_d):
    config = dataclasses.replace(TINY, resnet_d=resnet_d)
    model = build_resnet_rs(config, image_size=64, num_classes=5)
    layers = {layer.name: layer for layer in flatten(model)}
    for stage, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        name = f"stage{stage}_block1"
        assert layers[f"{name}_reduce_conv"].strides == (1, 1)
        assert layers[f"{name}_spatial_conv"].strides == (stride, stride)


def test_stochastic_depth_rate_grows_by_stage():
    config = dataclasses.replace(TINY, name="resnet_rs_50", stochastic_depth_rate=0.1)
    model = build_resnet_rs(config, image_size=32, num_classes=2)
    blocks = [f"stage{i}_block1" for i in (1, 2, 3, 4)]
    rates = [model.get_layer(b).get_layer(f"{b}_drop").rate for b in blocks]
    np.testing.assert_allclose(rates, [0.04, 0.06, 0.08, 0.10])


def grouped_and_plain(groups, momentum):
    options = {"momentum": momentum, "epsilon": 1e-5}
    layers = (
        GroupedBatchNormalization(groups, **options),
        keras.layers.BatchNormalization(**options),
    )
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=3).astype(np.float32) ** 2 for _ in range(4)]
    for layer in layers:
        layer.build((None, 5, 4, 3))
        layer.set_weights(weights)
    return layers


def test_groups_are_normalized_as_batches_of_their_own():
    grouped, plain = grouped_and_plain(groups=3, momentum=0.7)
    before = [v.numpy() for v in plain.non_trainable_variables]
    x = np.random.default_rng(1).normal(2.0, 3.0, (6, 5, 4, 3)).astype(np.float32)
    result = grouped(x, training=True)
    statistics = []
    for group in range(3):
        part = slice(2 * group, 2 * group + 2)
        plain.moving_mean.assign(before[0])
        plain.moving_variance.assign(before[1])
        np.testing.assert_allclose(
            result[part], plain(x[part], training=True), rtol=1e-4, atol=1e-5
        )
        statistics.append([v.numpy() for v in plain.non_trainable_variables])
    expected = np.mean(statistics, axis=0)
    np.testing.assert_allclose(grouped.moving_mean, expected[0], rtol=1e-5)
    np.testing.assert_allclose(grouped.moving_variance, expected[1], rtol=1e-5)


def test_groups_evaluate_like_the_plain_layer():
    grouped, plain = grouped_and_plain(groups=3, momentum=0.7)
    x = np.random.default_rng(1).normal(size=(5, 5, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(grouped(x), plain(x))


def test_a_network_of_groups_has_the_same_variables():
    plain, grouped = (
        build_resnet_rs(
            dataclasses.replace(TINY, batch_norm_groups=groups),
            image_size=32,
            num_classes=5,
        )
        for groups in (1, 2)
    )
    assert list(named_variables(plain)) == list(named_variables(grouped))
    kinds = [
        sum(isinstance(layer, GroupedBatchNormalization) for layer in flatten(model))
        for model in (plain, grouped)
    ]
    assert kinds == [0, 20]
