import dataclasses

import pytest

from classifier.config import (
    AugmentConfig,
    ImageConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
    override,
    override_all,
)
from student.config import StudentConfig


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("num_steps=2000", ("num_steps",), 2000),
        (
            "optimizer.peak_learning_rate=1",
            ("optimizer", "peak_learning_rate"),
            1.0,
        ),
        ("image.random_flip=False", ("image", "random_flip"), False),
        ("model.name=resnet_rs_101", ("model", "name"), "resnet_rs_101"),
        (
            "augment.operations=Rotate,Color",
            ("augment", "operations"),
            ("Rotate", "Color"),
        ),
    ],
)
def test_override_replaces_one_field(assignment, path, value):
    config = override(TrainConfig(), assignment)
    for name in path:
        config = getattr(config, name)
    assert config == value
    assert type(config) is type(value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("num_steps", "expected 'field=value'"),
        ("num_step=5", "nearest is 'num_steps'"),
        ("optimizer.peak_learning=5", "nearest is 'optimizer.peak_learning_rate'"),
        ("num_steps=many", "num_steps is of type int"),
        ("num_steps=1.5", "num_steps is of type int"),
        ("optimizer=fast", "optimizer is a group of settings"),
        ("num_steps.x=1", "num_steps is a value"),
        ("model.name=resnet_rs_51", "nearest is 'resnet_rs_50'"),
        ("augment.operations=Rotat", "nearest is 'Rotate'"),
        ("mixture.target_kind=soft", "unknown setting"),
    ],
)
def test_override_refuses(assignment, message):
    with pytest.raises(ValueError, match=message):
        override(TrainConfig(), assignment)


def test_override_checks_a_literal():
    with pytest.raises(ValueError, match="nearest is 'soft'"):
        override(StudentConfig(), "mixture.target_kind=sof")


def test_overrides_that_need_each_other_may_come_in_any_order():
    pair = ["num_steps=10", "optimizer.warmup_steps=5"]
    assert override_all(TrainConfig(), pair) == override_all(TrainConfig(), pair[::-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig(dropout_rate=1.0), "dropout_rate must be in"),
        (
            lambda: ModelConfig(width_multiplier=0.0),
            "width_multiplier must be positive",
        ),
        (lambda: ImageConfig(size=8), "size must be at least 32"),
        (lambda: ImageConfig(crop_fraction=0.0), "crop_fraction must be in"),
        (lambda: AugmentConfig(num_ops=-1), "num_ops must be >= 0"),
        (lambda: AugmentConfig(operations=()), "at least one"),
        (lambda: OptimizerConfig(momentum=1.0), "momentum must be in"),
        (lambda: TrainConfig(global_batch_size=0), "global_batch_size must be pos"),
        (lambda: TrainConfig(num_steps=100), "warmup_steps must be below num_steps"),
        (lambda: TrainConfig(label_smoothing=-0.1), "label_smoothing must be in"),
    ],
)
def test_nonsense_is_refused_when_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().num_steps = 1
