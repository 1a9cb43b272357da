"""The recipe from published weights."""

import pytest

from classifier.training import presets, transfer
from stage.overrides import override_all, paths_of


def fit(name, num_images, *settings):
    recipe = override_all(presets.find(name), settings)
    return transfer.fit_transfer(recipe, num_images, fixed=paths_of(settings))


# BiT-HyperRule, github.com/google-research/big_transfer.
@pytest.mark.parametrize(
    ("num_images", "steps", "warmup"),
    [
        (1, 500, 100),
        (19_999, 500, 100),
        (20_000, 10_000, 500),
        (499_999, 10_000, 500),
        (500_000, 20_000, 500),
        (130_000_000, 20_000, 500),
    ],
)
def test_schedule_is_the_published_one(num_images, steps, warmup):
    config = fit("resnet_rs_50_160", num_images)
    assert (config.num_steps, config.optimizer.warmup_steps) == (steps, warmup)
    assert config.global_batch_size == 512
    assert config.optimizer.peak_learning_rate == 0.003


def test_learning_rate_is_proportional_to_the_batch():
    config = fit("tiny", 100)
    assert config.global_batch_size == 32
    assert config.optimizer.peak_learning_rate == pytest.approx(0.003 / 16)


@pytest.mark.parametrize(
    "settings",
    [
        ("num_steps=50", "optimizer.warmup_steps=3"),
        ("optimizer.peak_learning_rate=0.5", "global_batch_size=1024"),
        ("frozen_batch_norm=False", "fitted_head=False", "label_smoothing=0.3"),
        ("model.dropout_rate=0.4", "optimizer.weight_decay=0.1", "evaluate_every=9"),
    ],
)
def test_settings_of_the_user_win(settings):
    config = fit("resnet_rs_50_160", 100, *settings)
    assert override_all(config, settings) == config


def test_network_resolution_and_noise_on_images_stay():
    recipe, config = presets.find("resnet_rs_152_224"), fit("resnet_rs_152_224", 100)
    assert (config.image, config.augment) == (recipe.image, recipe.augment)
    assert config.model.name == recipe.model.name


@pytest.mark.parametrize("name", ["tiny", "resnet_rs_50_160"])
@pytest.mark.parametrize("num_images", [100, 1_000_000])
def test_a_killed_training_goes_on_from_a_checkpoint(name, num_images):
    config = fit(name, num_images)
    assert config.checkpoint_every <= config.num_steps / 4
    assert config.checkpoint_every <= presets.find(name).checkpoint_every
    assert fit(name, num_images, "checkpoint_every=450").checkpoint_every == 450
