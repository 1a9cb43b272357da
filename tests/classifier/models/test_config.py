"""Checks of the network's configuration."""

import pytest

from classifier.models.config import ModelConfig


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"name": "resnet50"}, r"'resnet50'.*'ResNet50'"),
        ({"name": "resnet_rs_51"}, r"\b51\b.*\b50\b"),
        ({"width_multiplier": 0.0}, r"model\.width_multiplier\b.*\b0\.0"),
        ({"width_multiplier": 1e9}, r"model\.width_multiplier\b.*\b10{9}\.0"),
        ({"se_ratio": 1.5}, r"model\.se_ratio\b.*\b1\.5"),
        ({"dropout_rate": 1.0}, r"model\.dropout_rate\b.*\b1\.0"),
        ({"stochastic_depth_rate": -0.1}, r"model\.stochastic_depth_rate\b.*-0\.1"),
        ({"batch_norm_momentum": 1.0}, r"model\.batch_norm_momentum\b.*\b1\.0"),
        ({"batch_norm_groups": 0}, r"model\.batch_norm_groups\b.*\b0"),
        (
            {"name": "VGG16", "batch_norm_groups": 2},
            r"model\.batch_norm_groups\b.*VGG16\b.*\b2",
        ),
        ({"pixel_mean": (0.5, 0.5)}, r"model\.pixel_mean\b.*three.*\(0\.5, 0\.5\)"),
        ({"pixel_mean": (0.5, 0.5, float("nan"))}, r"model\.pixel_mean\b.*\bnan"),
        ({"pixel_stddev": (1.0, 0.0, 1.0)}, r"model\.pixel_stddev\b.*positive"),
        ({"pixel_stddev": (1.0,) * 4}, r"model\.pixel_stddev\b.*three"),
    ],
)
def test_impossible_values_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        ModelConfig(**settings)


def test_only_a_resnet_rs_has_a_depth():
    assert ModelConfig(name="resnet_rs_101").depth == 101
    assert ModelConfig(name="VGG16").depth is None
