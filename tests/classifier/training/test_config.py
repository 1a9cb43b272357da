import dataclasses

import pytest

from classifier.data.config import AugmentConfig, ImageConfig
from classifier.models.config import ModelConfig
from classifier.training.config import OptimizerConfig, TrainConfig
from stage.overrides import override, override_all, unknown
from student.training.config import StudentConfig


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
        ("model.name=resnet_rs_51", "nearest is 50"),
        ("model.name=resnet_rs_600", "nearest is 420"),
        ("model.name=resnet50", "nearest is 'ResNet50'"),
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
        (lambda: ModelConfig(se_ratio=1.5), "se_ratio must be in"),
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


@pytest.mark.parametrize(
    ("momentum", "decay"),
    [
        (0.0, 0.0),  # Would evaluate with the statistics of one batch.
        (0.9, 0.9999),  # Averages of averages: the published code refuses it too.
    ],
)
def test_batch_norm_statistics_are_averaged_in_one_way(momentum, decay):
    model = ModelConfig(batch_norm_momentum=momentum)
    with pytest.raises(ValueError, match="expected one of model"):
        TrainConfig(model=model, optimizer=OptimizerConfig(ema_decay=decay))
    other = dataclasses.replace(model, name="EfficientNetV2B0")
    TrainConfig(model=other, optimizer=OptimizerConfig(ema_decay=decay))


def test_devices_must_share_a_batch_evenly():
    config = TrainConfig(global_batch_size=12)
    assert config.per_device_batch_size(4) == 3
    with pytest.raises(ValueError, match="divisible by the 8 devices, got 12"):
        config.per_device_batch_size(8)


@pytest.mark.parametrize(
    ("shards", "groups", "message"),
    [
        (5, 1, r"divisible by input_shards \(5\), got 12"),
        (1, 8, r"divisible by model.batch_norm_groups \(8\), got 12"),
        (2, 3, "one of input_shards and model.batch_norm_groups must divide"),
    ],
)
def test_parts_of_a_batch_are_equal(shards, groups, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(
            model=ModelConfig(batch_norm_groups=groups),
            global_batch_size=12,
            input_shards=shards,
        )


def test_parts_of_a_batch_nest():
    model = ModelConfig(batch_norm_groups=6)
    config = TrainConfig(model=model, global_batch_size=12, input_shards=3)
    assert config.batch_parts == 6
    with pytest.raises(ValueError, match="EfficientNetV2B0 has 1, got 6"):
        dataclasses.replace(model, name="EfficientNetV2B0")


def test_an_unknown_name_is_answered_with_all_only_if_they_are_few():
    assert (
        unknown("thing", "b", "ABC") == "unknown thing 'b'; nearest is 'B', of A, B, C"
    )
    many = [f"name_{i}" for i in range(99)]
    assert unknown("thing", "name_7x", many).endswith("nearest is 'name_7'")


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().num_steps = 1
