import dataclasses

import pytest

from classifier.training import budget, presets
from stage.overrides import override_all, paths_of
from student.training import budget as student_budget
from student.training import presets as student_presets

IMAGENET = 1_281_167


def fit(name, count, *, settings=()):
    recipe = override_all(presets.find(name), settings)
    return budget.fit_budget(
        recipe, count, epochs=presets.epochs(name), fixed=paths_of(settings)
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *((name, IMAGENET) for name in ("resnet_rs_50_160", "resnet_rs_420_320")),
        *((name, IMAGENET) for name in presets.PRESETS if name.startswith("ablation")),
        ("tiny", 50),
        ("fine_tune", 300),
        ("fine_tune", 300_000),
    ],
)
def test_a_recipe_stays_as_it_is_for_the_images_it_is_stated_for(name, count):
    assert fit(name, count) == presets.find(name)


@pytest.mark.parametrize("name", ["tiny", "resnet_rs_50_160"])
@pytest.mark.parametrize("count", [2, 50, 100, 300, 5_000, 300_000, 10_000_000])
def test_every_image_is_seen_often_enough(name, count):
    config = fit(name, count)
    assert config.num_steps >= budget.MIN_STEPS
    seen = config.num_steps * config.global_batch_size / count
    # Whole batches make a pass, so up to half of the images are seen again.
    assert seen >= budget.EPOCHS / 2
    # More than twice as often only where few steps would be left.
    assert seen <= 2 * budget.EPOCHS or config.num_steps == budget.MIN_STEPS
    # The shares of the run stay what they are.
    recipe = presets.find(name)
    for share in (
        lambda config: config.optimizer.warmup_steps / config.num_steps,
        lambda config: config.evaluate_every / config.num_steps,
    ):
        assert share(config) == pytest.approx(share(recipe), rel=0.35)


def test_more_images_never_mean_fewer_steps():
    counts = [2**power for power in range(1, 24)]
    steps = [fit("tiny", count).num_steps for count in counts]
    assert steps == sorted(steps)


def test_few_images_make_small_batches_and_small_learning_rates():
    recipe, config = presets.find("resnet_rs_50_160"), fit("resnet_rs_50_160", 300)
    factor = config.global_batch_size / recipe.global_batch_size
    assert config.global_batch_size == 128
    assert config.optimizer.peak_learning_rate == pytest.approx(
        factor * recipe.optimizer.peak_learning_rate
    )
    assert fit("resnet_rs_50_160", 2).global_batch_size == budget.MIN_BATCH_SIZE


@pytest.mark.parametrize(
    "setting",
    [
        "global_batch_size=64",
        "optimizer.peak_learning_rate=0.7",
        "optimizer.warmup_steps=7",
        "evaluate_every=13",
    ],
)
def test_what_the_user_sets_stays(setting):
    config = fit("resnet_rs_50_160", 3_000, settings=[setting])
    assert config == override_all(config, [setting])
    assert config.num_steps != presets.find("resnet_rs_50_160").num_steps


def test_a_set_length_keeps_the_recipe():
    recipe = dataclasses.replace(presets.find("resnet_rs_50_160"), num_steps=9_999)
    config = budget.fit_budget(recipe, 50, epochs=350, fixed={"num_steps"})
    assert config == recipe


def test_a_teacher_is_as_long_as_its_student():
    for labeled, unlabeled in ((50, 1_140), (300, 7_700), (5_000, 100_000)):
        teacher = budget.fit_budget(
            presets.tiny(),
            labeled,
            unlabeled,
            epochs=budget.EPOCHS,
            fixed=(),
        )
        student = student_budget.fit_budget(
            student_presets.find("tiny"),
            student_budget.Sizes(labeled=labeled, pseudo_labeled=unlabeled),
            num_classes=10,
        )
        assert teacher.num_steps == student.num_steps
        assert teacher.global_batch_size == student.global_batch_size


def test_a_teacher_learns_from_as_many_images_as_set_its_length():
    assert presets.tiny().consistency.max_images == budget.MAX_COUNTED


def test_consistency_training_computes_as_much():
    recipe = presets.tiny()
    config = budget.fit_consistency(recipe, fixed=())
    assert (config.global_batch_size, config.consistency.unlabeled_ratio) == (64, 3)
    before = 3 * recipe.global_batch_size * recipe.num_steps
    assert (3 * 64 + 48) * config.num_steps == pytest.approx(before, rel=0.01)
    assert config.optimizer.peak_learning_rate == pytest.approx(0.03)
    assert config.model.dropout_rate == config.label_smoothing == 0.0
    few = budget.with_num_steps(recipe, budget.MIN_STEPS)
    shortest = budget.fit_consistency(few, fixed=())
    assert shortest.num_steps == 0.4 * budget.MIN_STEPS
    settings = ("label_smoothing=0.2", "num_steps=7", "global_batch_size=16")
    recipe = override_all(recipe, [*settings, "optimizer.warmup_steps=1"])
    fixed = budget.fit_consistency(recipe, fixed=paths_of(settings))
    assert override_all(fixed, settings) == fixed


def test_consistency_is_for_few_labels():
    assert budget.has_few_labels(120, 10)
    assert not budget.has_few_labels(121, 10)


@pytest.mark.parametrize(
    ("times", "text"),
    [(3606.4, "3,610 times"), (448, "448 times"), (0.41321, "0.413 times")],
)
def test_how_often_images_are_seen_has_three_digits(times, text):
    assert budget.describe_times(times) == text
