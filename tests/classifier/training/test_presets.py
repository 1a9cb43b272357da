import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier.data.config import PUBLISHED_OPERATIONS
from classifier.models import factory
from classifier.training import presets
from classifier.training.backend_tensorflow import TensorFlowBackend
from stage.overrides import override_all
from stage.setting_paths import flatten

#: Depth, side, dropout, stochastic depth and RandAugment's magnitude in the configs of
#: the published checkpoints.
PUBLISHED = [
    (50, 160, 0.25, 0.0, 10),
    (101, 160, 0.25, 0.0, 10),
    (101, 192, 0.25, 0.0, 15),
    (152, 192, 0.25, 0.0, 15),
    (152, 224, 0.25, 0.0, 15),
    (152, 256, 0.25, 0.0, 15),
    (200, 256, 0.25, 0.1, 15),
    (270, 256, 0.25, 0.1, 15),
    (350, 256, 0.25, 0.1, 15),
    (350, 320, 0.4, 0.1, 15),
    (420, 320, 0.4, 0.1, 15),
]


@pytest.mark.parametrize(("depth", "size", "dropout", "drop", "magnitude"), PUBLISHED)
def test_published_rows(depth, size, dropout, drop, magnitude):
    recipe = presets.find(f"resnet_rs_{depth}_{size}")
    assert recipe.model.name == f"resnet_rs_{depth}"
    assert recipe.model.width_multiplier == 1.0
    assert recipe.model.se_ratio == 0.25
    assert recipe.model.resnet_d
    assert recipe.model.batch_norm_momentum == 0.0
    assert recipe.model.dropout_rate == dropout
    assert recipe.model.stochastic_depth_rate == drop
    assert recipe.image.size == size
    assert recipe.image.crop_fraction == 0.875
    assert recipe.image.min_crop_area == 0.08
    assert recipe.augment.num_ops == 2
    assert recipe.augment.magnitude == magnitude
    assert recipe.augment.operations == PUBLISHED_OPERATIONS
    assert recipe.augment.translate_pixels == 100
    assert recipe.augment.interpolation == "nearest"
    assert recipe.global_batch_size == 4096
    assert recipe.label_smoothing == 0.1
    optimizer = recipe.optimizer
    assert optimizer.peak_learning_rate == pytest.approx(0.1 * 4096 / 256)
    assert optimizer.schedule == "cosine"
    assert optimizer.momentum == 0.9
    assert optimizer.weight_decay == 4e-5
    assert optimizer.ema_decay == 0.9999
    # Epochs of 1,281,167 images; 312 whole batches in each.
    assert recipe.num_steps // 312 == 350
    assert optimizer.warmup_steps == 5 * (1_281_167 // 4096)


def test_no_row_is_missing():
    rows = {f"resnet_rs_{depth}_{size}" for depth, size, *_ in PUBLISHED}
    named = {name for name in presets.PRESETS if name.startswith("resnet_rs_")}
    assert named == rows


def test_the_ablation_ends_at_the_published_model():
    assert presets.ablation(10) == presets.resnet_rs(200, 256)
    top1 = [figure for _, figure, _ in presets.ABLATION_STEPS]
    # Table 1 of the paper.
    assert top1 == [79.0, 79.3, 78.8, 79.1, 80.4, 80.6, 81.0, 80.7, 82.2, 82.9, 83.4]


#: What each step of the ladder changes, and nothing else.
CHANGES = [
    {"optimizer.schedule"},
    {"num_steps"},
    {"optimizer.ema_decay", "model.batch_norm_momentum"},
    {"label_smoothing"},
    {"model.stochastic_depth_rate"},
    {"augment.num_ops"},
    {"model.dropout_rate"},
    {"optimizer.weight_decay"},
    {"model.se_ratio"},
    {"model.resnet_d"},
]


@pytest.mark.parametrize("step", range(10))
def test_each_step_of_the_ablation_changes_one_thing(step):
    before, after = (
        dict(flatten(dataclasses.asdict(presets.ablation(i)))) for i in (step, step + 1)
    )
    changed = {name for name, value in after.items() if before[name] != value}
    assert changed == CHANGES[step]


def test_the_baseline_is_a_plain_resnet_200():
    baseline = presets.find("ablation_0_baseline")
    assert baseline.model.name == "resnet_rs_200"
    assert baseline.image.size == 256
    assert baseline.num_steps == 90 * 312
    assert baseline.optimizer.weight_decay == 1e-4
    assert not baseline.model.resnet_d


def test_any_depth_and_size_is_a_preset():
    recipe = presets.find("resnet_rs_299")
    assert recipe.model.name == "resnet_rs_299"
    assert recipe.image.size == 256
    assert presets.find("resnet_rs_50_224").image.size == 224


def test_a_recipe_knows_how_often_it_sees_an_image():
    assert presets.epochs("resnet_rs_50_160") == presets.epochs("resnet_rs_299") == 350
    assert presets.epochs("ablation_0_baseline") == 90
    assert presets.epochs("ablation_2_350_epochs") == 350
    # A protocol states steps.
    assert presets.epochs("fine_tune") is None


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"resnet_rs_152x224.*'resnet_rs_152_224'"):
        presets.find("resnet_rs_152x224")
    with pytest.raises(ValueError, match=r"\b50\b"):
        presets.find("resnet_rs_51")


def step(recipe):
    """Returns the figures of one training step, and the parameters it moved."""
    backend = TensorFlowBackend(
        *(
            factory.build_network(
                recipe.model, image_size=recipe.image.size, num_classes=10
            )
            for _ in "12"
        ),
        recipe,
    )
    size = recipe.image.size
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    batch = {"image": tf.constant(images), "target": tf.one_hot([1, 2], 10)}
    before = backend.arrays()
    figures = {}
    for _ in range(2):  # The first is at the learning rate 0 where there is warm-up.
        figures = backend.train_step(batch)
    after = backend.arrays()
    moved = sum(
        not np.array_equal(before[name], after[name])
        for name in before
        if name.startswith("model/") and name.endswith("kernel")
    )
    return figures, moved


ABLATIONS = [name for name in presets.PRESETS if name.startswith("ablation_")]


@pytest.fixture
def eager():
    """Avoids graphs: tracing them takes longer than a few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ABLATIONS)
def test_each_step_of_the_ablation_trains(name):
    """On the smallest network; the real ones are in the slow tests."""
    settings = ["model.name=resnet_rs_14", "model.width_multiplier=0.0625"]
    recipe = override_all(presets.find(name), [*settings, "image.size=64"])
    figures, moved = step(recipe)
    assert np.isfinite(figures["train/loss"])
    assert moved >= 5


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ABLATIONS, "fine_tune", "resnet_rs_50_160"])
def test_each_preset_trains_as_it_is(name):
    figures, moved = step(presets.find(name))
    assert np.isfinite(figures["train/loss"])
    assert moved >= 5
    keras.utils.clear_session()
