import dataclasses
import math

import pytest

from classifier.models.config import ModelConfig
from classifier.training import presets
from classifier.training.config import (
    ConsistencyConfig,
    OptimizerConfig,
    TrainConfig,
    override_recipe,
    read_run,
)
from stage import artifact
from stage.overrides import override_all


@pytest.mark.parametrize(
    ("assignments", "warmup_steps"),
    [
        (["num_steps=50"], 3),  # Of 800 there are 50.
        (["num_steps=1"], 0),
        (["num_steps=1600", "optimizer.momentum=0.5"], 100),
        (["num_steps=50", "optimizer.warmup_steps=7"], 7),
        (["optimizer.warmup_steps=7"], 7),
        (["optimizer.momentum=0.5"], 50),
    ],
)
def test_the_warm_up_keeps_its_share_unless_it_is_given(assignments, warmup_steps):
    config = override_recipe(presets.tiny(), assignments)
    assert config.optimizer.warmup_steps == warmup_steps
    expected = [*assignments, f"optimizer.warmup_steps={warmup_steps}"]
    assert config == override_all(presets.tiny(), expected)


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
    config = override_all(TrainConfig(), [assignment])
    for name in path:
        config = getattr(config, name)
    assert config == value
    assert type(config) is type(value)


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("num_step=5", "'num_steps'"),
        ("optimizer.peak_learning=5", "'optimizer.peak_learning_rate'"),
        ("num_steps=many", "num_steps"),
        ("num_steps=1.5", "num_steps"),
        ("optimizer=fast", "optimizer"),
        ("num_steps.x=1", "num_steps"),
        ("model.name=resnet_rs_51", r"\b50\b"),
        ("model.name=resnet_rs_600", r"\b420\b"),
        ("model.name=resnet50", "'ResNet50'"),
        ("augment.operations=Rotat", "'Rotate'"),
        ("mixture.target_kind=soft", r"mixture"),
    ],
)
def test_override_refuses(assignment, named):
    with pytest.raises(ValueError, match=named):
        override_all(TrainConfig(), [assignment])


def test_overrides_that_need_each_other_may_come_in_any_order():
    pair = ["num_steps=10", "optimizer.warmup_steps=5"]
    assert override_all(TrainConfig(), pair) == override_all(TrainConfig(), pair[::-1])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: OptimizerConfig(peak_learning_rate=0.0), r"optimizer\.peak_learning"),
        (lambda: OptimizerConfig(momentum=1.0), r"optimizer\.momentum\b.*\b1\.0"),
        (lambda: OptimizerConfig(ema_decay=1.0), r"optimizer\.ema_decay\b.*\b1\.0"),
        (lambda: OptimizerConfig(warmup_steps=-1), r"optimizer\.warmup_steps\b.*-1"),
        (
            lambda: OptimizerConfig(weight_decay=-0.5),
            r"optimizer\.weight_decay\b.*-0.5",
        ),
        (lambda: TrainConfig(global_batch_size=0), r"global_batch_size\b.*\b0"),
        (lambda: TrainConfig(num_steps=100), r"optimizer\.warmup_steps\b.*\b100\b"),
        (lambda: TrainConfig(label_smoothing=-0.1), r"label_smoothing\b.*-0\.1"),
        (lambda: TrainConfig(frozen_stages=5), r"frozen_stages\b.*\b5"),
        (lambda: TrainConfig(seed=-1), r"seed\b.*-1"),
        (lambda: TrainConfig(seed=2**32), r"seed\b.*\b4294967296"),
        (lambda: TrainConfig(num_steps=10**21), r"num_steps\b.*\b10{21}"),
        (lambda: TrainConfig(global_batch_size=2**18), r"global_batch.*\b262144"),
        (lambda: TrainConfig(shuffle_buffer=10**9), r"shuffle_buffer\b.*\b10{9}"),
        (
            lambda: TrainConfig(model=ModelConfig(name="MobileNet"), frozen_stages=1),
            r"frozen_stages\b.*MobileNet\b.*\b1",
        ),
        (lambda: ConsistencyConfig(weight=math.inf), r"consistency\.weight\b.*\binf"),
        (
            lambda: ConsistencyConfig(temperature=math.inf, target_kind="sharpened"),
            r"consistency\.temperature\b.*\binf",
        ),
        (lambda: ConsistencyConfig(max_images=2**31), r"max_images\b.*\b2147483648"),
        (
            lambda: TrainConfig(
                input_shards=4, consistency=ConsistencyConfig(max_images=3)
            ),
            r"max_images\b.*\b4\b.*\b3\b",
        ),
    ],
)
def test_nonsense_is_refused_when_made(make, named):
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.parametrize(
    ("setting", "mode"),
    [
        ({"threshold": 0.5}, {"thresholds": "curriculum"}),
        ({"threshold_warmup": False}, {"thresholds": "curriculum"}),
        ({"threshold_decay": 0.5}, {"thresholds": "self_adaptive"}),
        ({"fairness_weight": 0.5}, {"thresholds": "self_adaptive"}),
        ({"temperature": 0.9}, {"target_kind": "sharpened"}),
    ],
)
def test_settings_without_an_effect_are_refused(setting, mode):
    ConsistencyConfig(**setting, **mode)
    others = {"thresholds": "self_adaptive"} if "threshold" in setting else {}
    (name,), (field,) = setting, mode
    with pytest.raises(ValueError, match=rf"{name}\b.*{field}=.*{mode[field]}"):
        ConsistencyConfig(**setting, **others)


@pytest.mark.parametrize("name", ["resnet_rs_50", "EfficientNetLite0"])
@pytest.mark.parametrize(
    ("momentum", "decay"),
    [
        (0.0, 0.0),  # Would evaluate with the statistics of one batch.
        (0.9, 0.9999),  # Averages of averages: the published code refuses it too.
    ],
)
def test_batch_norm_statistics_are_averaged_in_one_way(name, momentum, decay):
    model = ModelConfig(name=name, batch_norm_momentum=momentum)
    with pytest.raises(
        ValueError, match=r"model\.batch_norm_momentum\b.*optimizer\.ema_decay\b"
    ):
        TrainConfig(model=model, optimizer=OptimizerConfig(ema_decay=decay))
    other = dataclasses.replace(model, name="EfficientNetV2B0")
    TrainConfig(model=other, optimizer=OptimizerConfig(ema_decay=decay))


@pytest.mark.parametrize(
    ("shards", "groups", "named"),
    [
        (5, 1, r"global_batch_size\b.*input_shards\b.*\b5\b.*\b12"),
        (1, 8, r"global_batch_size\b.*model.batch_norm_groups\b.*\b8\b.*\b12"),
        (2, 3, r"input_shards\b.*model.batch_norm_groups\b.*\b2\b.*\b3"),
    ],
)
def test_parts_of_a_batch_are_equal(shards, groups, named):
    with pytest.raises(ValueError, match=named):
        TrainConfig(
            model=ModelConfig(batch_norm_groups=groups),
            global_batch_size=12,
            input_shards=shards,
        )


def test_parts_of_a_batch_nest():
    model = ModelConfig(batch_norm_groups=6)
    config = TrainConfig(model=model, global_batch_size=12, input_shards=3)
    assert config.batch_parts == 6
    with pytest.raises(ValueError, match=r"EfficientNetV2B0\b.*\b6"):
        dataclasses.replace(model, name="EfficientNetV2B0")


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().num_steps = 1


def write_run(workdir, recipe):
    content = {"config": recipe, "class_names": ["a", "b"]}
    artifact.write_json(workdir / artifact.CONFIG, content)
    return read_run(workdir)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_recipe_is_read_back(name, tmp_path):
    recipe = presets.PRESETS[name]
    assert write_run(tmp_path, dataclasses.asdict(recipe)).recipe == recipe


def test_a_recipe_may_have_the_former_name_of_dtype(tmp_path):
    config = TrainConfig(dtype="bfloat16")
    content = dataclasses.asdict(config)
    content["precision"] = content.pop("dtype")
    assert write_run(tmp_path, content).recipe == config


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_steps": "many"}, "num_steps: .*many"),
        ({"num_steps": 0}, "num_steps.* 0"),
        ({"optimizer": {"momentum": True}}, "optimizer.momentum: .*true"),
        ({"augment": {"operations": "Rotate"}}, "augment.operations: .*Rotate"),
        ({"model": None}, "model: "),
    ],
)
def test_a_broken_recipe_is_named(tmp_path, change, named):
    content = dataclasses.asdict(TrainConfig()) | change
    with pytest.raises(ValueError, match=rf"config\.json: config: {named}"):
        write_run(tmp_path, content)


def test_a_recipe_without_its_network_is_refused(tmp_path):
    content = dataclasses.asdict(TrainConfig())
    del content["model"]
    with pytest.raises(ValueError, match=r"config\.json: config: .*model"):
        write_run(tmp_path, content)
