import dataclasses

import pytest

from classifier.training import presets as teacher_presets
from stage.overrides import override_all
from stage.setting_paths import flatten
from student.training import presets


def changed(before, after):
    """Paths of the fields of `before` that have another value in `after`."""
    old, new = (dict(flatten(dataclasses.asdict(config))) for config in (before, after))
    return {name for name, value in old.items() if new[name] != value}


def test_the_published_rows_are_those_of_the_teacher():
    names = {name for name in presets.PRESETS if name.startswith("resnet_rs_")}
    assert names == set(teacher_presets.PUBLISHED)


def test_any_depth_is_a_preset():
    student = presets.find("resnet_rs_299")
    assert student.model == teacher_presets.find("resnet_rs_299").model


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"resnet_rs_152x224.*'resnet_rs_152_224'"):
        presets.find("resnet_rs_152x224")
    with pytest.raises(ValueError, match=r"\b50\b"):
        presets.find("resnet_rs_51")


def test_a_student_of_tiny_is_its_teacher_with_a_mixture():
    student, teacher = presets.find("tiny"), teacher_presets.find("tiny")
    assert changed(teacher, student) == set()
    assert student.mixture.target_kind == "sharpened"


def test_semi_supervised_training_differs_in_the_mixture_and_its_length_alone():
    student = presets.find("resnet_rs_152_224")
    supervised = teacher_presets.find("resnet_rs_152_224")
    assert student.global_batch_size == 4096
    assert student.labeled_batch_size == 1024
    assert student.mixture.target_kind == "soft"
    # As many passes over the labeled images as in supervised training.
    seen = student.num_steps * student.labeled_batch_size
    assert seen == supervised.num_steps * supervised.global_batch_size
    assert changed(supervised, student) == {"num_steps", "optimizer.warmup_steps"}


@pytest.mark.parametrize(
    ("before", "after"), [(32, 40), (160, 200), (224, 280), (256, 320)]
)
def test_the_side_of_the_last_phase_is_larger_by_a_quarter(before, after):
    assert presets.larger_image_size(before) == after


@pytest.mark.parametrize("name", teacher_presets.PRESETS)
def test_the_last_phase_has_no_noise(name):
    trained = teacher_presets.find(name)
    config = presets.last_phase(trained, num_labeled=1_281_167)
    assert config.augment.num_ops == 0
    assert config.model.dropout_rate == config.model.stochastic_depth_rate == 0
    assert config.image.min_crop_area == 1
    assert not config.image.random_flip
    assert config.image.size > trained.image.size
    assert config.frozen_stages == 3
    assert config.optimizer.warmup_steps == 0
    seen = config.num_steps * config.global_batch_size
    assert seen == pytest.approx(1.5 * 1_281_167, rel=0.01)


def test_nothing_is_frozen_of_a_network_that_is_no_resnet_rs():
    teacher = override_all(teacher_presets.tiny(), ["model.name=EfficientNetV2B0"])
    assert presets.last_phase(teacher, num_labeled=50).frozen_stages == 0


def test_few_images_are_seen_more_often_in_the_last_phase():
    config = presets.last_phase(teacher_presets.find("tiny"), num_labeled=50)
    assert config.num_steps == 100


def test_a_given_side_is_taken():
    config = presets.last_phase(
        teacher_presets.find("tiny"), num_labeled=50, image_size=48
    )
    assert config.image.size == 48
