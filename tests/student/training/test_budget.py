import dataclasses
import itertools

import pytest

from classifier.training.budget import EPOCHS
from stage.overrides import override_all, paths_of
from student.training import budget, presets
from student.training.budget import Sizes

DEMO = Sizes(labeled=50, pseudo_labeled=1_140)
PAPER = Sizes(labeled=1_281_167, pseudo_labeled=130_000_000)


def fit(name, sizes, *settings, num_classes=10):
    recipe = override_all(presets.find(name), settings)
    return budget.fit_budget(
        recipe, sizes, num_classes=num_classes, fixed=paths_of(settings)
    )


def test_the_demo_is_what_its_figures_are_of():
    config = fit("tiny", DEMO)
    assert (config.num_steps, config.global_batch_size) == (2_800, 32)
    assert (config.labeled_batch_size, config.pseudo_labeled_batch_size) == (8, 24)
    assert config.model == presets.find("tiny").model
    assert config.evaluate_every == 350


@pytest.mark.parametrize("name", ["resnet_rs_152_224", "resnet_rs_50_160"])
def test_the_published_training_stays_as_it_is(name):
    assert fit(name, PAPER, num_classes=1_000) == presets.find(name)


def test_few_labels_have_hard_targets():
    few, more = (Sizes(labeled=n, pseudo_labeled=40_000) for n in (2_000, 2_001))
    assert fit("resnet_rs_50_160", few).mixture.target_kind == "hard"
    assert fit("resnet_rs_50_160", more).mixture.target_kind == "soft"
    own = fit("tiny", few, "mixture.target_kind=soft")
    assert own.mixture.target_kind == "soft"


def test_a_temperature_counts_where_labels_are_few():
    mixture = fit("tiny", DEMO, "mixture.temperature=0.25").mixture
    assert (mixture.target_kind, mixture.temperature) == ("sharpened", 0.25)


@pytest.mark.parametrize("name", ["tiny", "resnet_rs_50_160"])
@pytest.mark.parametrize("labeled", [20, 300, 5_000, 300_000])
@pytest.mark.parametrize("ratio", [0.5, 10, 1_000])
def test_nothing_needs_to_be_tuned_for_other_sizes(name, labeled, ratio):
    sizes = Sizes(labeled=labeled, pseudo_labeled=int(labeled * ratio))
    config = fit(name, sizes)
    of_labeled, of_pseudo_labeled = budget.epochs(config, sizes)
    # Nothing is left unseen, and nothing is learned forever.
    assert of_labeled >= 10
    assert 5 <= of_pseudo_labeled <= 2 * EPOCHS or config.num_steps == 800
    assert config.num_steps >= 800
    fraction = config.mixture.labeled_fraction
    # The rest of the batch: at most 28 to each labeled image.
    assert 1 / 29 <= fraction <= 2 / 3
    assert fraction >= 0.25 or of_labeled >= 0.8 * budget.MAX_EPOCHS


def test_more_images_never_mean_fewer_steps():
    for name, fixed in itertools.product(("tiny", "resnet_rs_50_160"), (50, 5_000)):
        for sizes in (
            [Sizes(labeled=fixed, pseudo_labeled=2**p) for p in range(30)],
            [Sizes(labeled=2**p, pseudo_labeled=fixed) for p in range(30)],
        ):
            seen = [
                config.num_steps * config.global_batch_size
                for config in (fit(name, size) for size in sizes)
            ]
            for before, after in itertools.pairwise(seen):
                # But for the rounding to whole batches and to rows of figures.
                assert after >= 0.85 * before


@pytest.mark.parametrize("labeled", [10, 200, 100_000])
@pytest.mark.parametrize("pseudo_labeled", [9, 200, 3_000])
def test_pseudo_labeled_images_are_not_seen_more_often_than_labeled_ones(
    labeled, pseudo_labeled
):
    sizes = Sizes(labeled=labeled, pseudo_labeled=pseudo_labeled)
    fraction = fit("tiny", sizes).mixture.labeled_fraction
    assert fraction / labeled >= (1 - fraction) / pseudo_labeled * (1 - 1e-9)


def test_as_many_labels_as_pseudo_labels_share_the_batch():
    fractions = [
        fit("tiny", Sizes(labeled=100, pseudo_labeled=n)).mixture.labeled_fraction
        for n in (10, 100, 200, 300, 1_000)
    ]
    assert fractions == pytest.approx([10 / 11, 1 / 2, 1 / 3, 1 / 4, 1 / 4])


def test_what_is_seen_few_times_is_noised_less():
    config = fit("tiny", DEMO, "num_steps=95")
    _, seen = budget.epochs(config, DEMO)
    assert seen == 2
    assert config.model.dropout_rate == pytest.approx(0.2 * 0.25)
    # On images: some of RandAugment's operations grow as its magnitude falls.
    assert config.augment == presets.find("tiny").augment
    own = fit("tiny", DEMO, "num_steps=95", "model.dropout_rate=0.4")
    assert own.model.dropout_rate == 0.4


@pytest.mark.parametrize(
    "setting",
    [
        "num_steps=12345",
        "global_batch_size=48",
        "optimizer.peak_learning_rate=0.03",
        "optimizer.warmup_steps=7",
        "evaluate_every=13",
        "model.width_multiplier=0.3",
        "model.dropout_rate=0.7",
        "model.stochastic_depth_rate=0.2",
        "mixture.labeled_fraction=0.4",
    ],
)
@pytest.mark.parametrize("name", ["tiny", "resnet_rs_50_160"])
def test_what_the_user_sets_stays(name, setting):
    for sizes in (DEMO, Sizes(labeled=300, pseudo_labeled=100_000)):
        config = fit(name, sizes, setting)
        assert config == override_all(config, [setting])


def test_without_pseudo_labels_only_the_labels_count():
    alone = Sizes(labeled=50, pseudo_labeled=0)
    assert fit("tiny", alone).num_steps == 800
    assert "1,140" in budget.describe(fit("tiny", DEMO), DEMO)
    assert "pseudo" not in budget.describe(fit("tiny", alone), alone)


def test_epochs_count_images():
    config = dataclasses.replace(fit("tiny", DEMO), num_steps=200)
    assert budget.epochs(config, DEMO) == (200 * 8 / 50, 200 * 24 / 1_140)
