import itertools

import pytest

from benchmarks.methods.cost import DEMO_PASSES, Batch, budget_of, steps_of


def passes(batch, steps):
    """Forward passes, counted image by image."""
    of_step = 0
    for _ in range(batch.labeled + batch.unlabeled):
        of_step += 3
    for _ in range(batch.unlabeled):
        of_step += 1
    return of_step * steps


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "network", "budget"),
    [*itertools.product((8, 28), (0, 56), (3, 2_545_000), (1e7, 1e12))],
)
def test_the_steps_use_the_budget_up_and_no_more(labeled, unlabeled, network, budget):
    batch = Batch(labeled, unlabeled)
    if passes(batch, 1) * network > budget:
        with pytest.raises(ValueError, match="--budgets: expected enough"):
            steps_of(budget, batch, network)
    else:
        steps = steps_of(budget, batch, network)
        assert passes(batch, steps) * network <= budget
        assert passes(batch, steps + 1) * network > budget


def test_a_budget_is_a_share_of_the_demo():
    """A teacher of 1,126 steps, a student of 2,800, and the labeling."""
    trained = passes(Batch(16, 48), 1_126) + passes(Batch(32), 2_800)
    labeled = 1_147 + 50 + 650
    assert trained + labeled == 540_887
    assert trained + labeled < DEMO_PASSES < 1.005 * (trained + labeled)
    assert budget_of(0.5, 100) == 50 * DEMO_PASSES


def test_batches_have_labeled_images_and_a_multiple_without_labels():
    for labeled, unlabeled in ((0, 8), (16, 40)):
        with pytest.raises(ValueError, match="multiple"):
            Batch(labeled, unlabeled)
