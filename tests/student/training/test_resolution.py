import dataclasses
import json

import numpy as np
import pytest

from classifier.models import factory
from classifier.training import trainer
from classifier.training.backend_tensorflow import TensorFlowBackend
from classifier.training.config import from_json
from classifier.training.presets import PRESETS, find
from student.training import presets, resolution
from student.training.resolution import recipe


@pytest.mark.parametrize(
    ("before", "after"), [(32, 40), (160, 200), (224, 280), (256, 320)]
)
def test_the_side_grows_by_a_quarter(before, after):
    assert resolution.larger(before) == after


@pytest.mark.parametrize("name", PRESETS)
def test_the_last_phase_has_no_noise(name):
    config = recipe(find(name), num_labeled=1_281_167)
    assert config.augment.num_ops == 0
    assert config.model.dropout_rate == config.model.stochastic_depth_rate == 0
    assert config.image.min_crop_area == 1
    assert not config.image.random_flip
    assert config.image.size > find(name).image.size
    seen = config.num_steps * config.global_batch_size
    assert seen == pytest.approx(1.5 * 1_281_167, rel=0.01)


def test_few_images_are_seen_more_often():
    assert recipe(find("tiny"), num_labeled=50).num_steps == 100


def test_a_side_that_is_asked_for_is_taken():
    config = recipe(find("tiny"), num_labeled=50, image_size=48)
    assert config.image.size == 48


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_students_recipe_is_read_back_without_its_mixture(name):
    student = presets.PRESETS[name]
    content = json.loads(json.dumps(dataclasses.asdict(student)))
    read = from_json(content)
    for field in dataclasses.fields(read):
        assert getattr(read, field.name) == getattr(student, field.name)


def values(model, prefix):
    return {
        name: np.array(variable)
        for name, variable in factory.named_variables(model).items()
        if name.startswith(prefix)
    }


def test_frozen_stages_stay_as_they_are(config):
    model = trainer.build(config, num_classes=3)
    factory.freeze(model, stages=3)
    frozen = {name: values(model, name) for name in ("stem", "stage1", "stage3")}
    before = {name: values(model, name) for name in ("stage4", "logits")}
    running = TensorFlowBackend(model, trainer.build(config, num_classes=3), config)
    rng = np.random.default_rng(0)
    size = config.image.size
    batch = {
        "image": rng.integers(0, 256, (4, size, size, 3), np.uint8),
        "target": np.eye(3, dtype=np.float32)[[0, 1, 2, 0]],
    }
    for _ in range(2):  # The first one's learning rate is 0.
        running.train_step(batch)
    for prefix, old in frozen.items():
        assert old
        for name, value in values(model, prefix).items():
            np.testing.assert_array_equal(value, old[name])
    for prefix, old in before.items():
        assert any(
            (value != old[n]).any() for n, value in values(model, prefix).items()
        )


def test_nothing_is_frozen_unless_asked(config):
    model = trainer.build(config, num_classes=3)
    count = len(model.trainable_variables)
    factory.freeze(model, stages=0)
    assert len(model.trainable_variables) == count
