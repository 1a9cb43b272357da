import dataclasses

import numpy as np
import pytest
import threadpoolctl
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classifier.probing.config import ProbeConfig
from classifier.probing.cross_validation import (
    IN_EVERY_HEAD,
    assign_folds,
    choose_c,
    predict_out_of_fold,
)
from classifier.probing.logistic_regression import fit_head
from tests.classifier.probing.embeddings_of_classes import Scaler, World, label


@pytest.fixture(autouse=True)
def one_thread():
    """Threads take longer than products of matrices as small as these."""
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def labeled():
    """Ninety images, every third of them a copy of the one before."""
    embeddings, labels = World(4).draw(90, 0)
    contents = [row - (row % 3 == 2) for row in range(90)]
    return label(embeddings[contents], labels[contents], contents)


def folds_of(images, num_folds=4, seed=0):
    return assign_folds(images, num_folds=num_folds, seed=seed)


def test_copies_are_in_one_fold_and_classes_in_all(labeled):
    fold = folds_of(labeled)
    np.testing.assert_array_equal(fold[1::3], fold[2::3])
    assert set(fold) == set(range(4))
    for number in range(5):
        # Fifteen or so different images, a third of them with a copy.
        counts = np.bincount(fold[labeled.labels == number], minlength=4)
        assert counts.min() >= 1
    assert (fold != folds_of(labeled, seed=1)).any()


def test_folds_do_not_depend_on_the_order(labeled):
    order = np.random.default_rng(0).permutation(90)
    np.testing.assert_array_equal(
        folds_of(labeled.take(order)), folds_of(labeled)[order]
    )


@pytest.mark.parametrize("seed", range(20))
def test_without_any_fold_every_class_is_left(seed):
    """Few images, unequal classes, copies with other labels."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 25))
    labels = rng.choice(3, count, p=[0.7, 0.2, 0.1])
    labels[:3] = range(3)
    contents = rng.integers(0, max(2, count // 2), count).tolist()
    images = label(np.zeros((count, 2), np.float32), labels, contents)
    fold = folds_of(images)
    for number in range(4):
        assert set(labels[fold != number]) == {0, 1, 2}
    for content in set(contents):
        assert (
            len({int(f) for f, c in zip(fold, contents, strict=True) if c == content})
            == 1
        )
    for each in range(3):
        if len({c for c, la in zip(contents, labels, strict=True) if la == each}) == 1:
            assert (fold[labels == each] == IN_EVERY_HEAD).all()


def test_no_head_has_seen_what_it_predicts(labeled):
    """Whatever the images of a fold were, their heads would be the same."""
    fold = folds_of(labeled)
    rng = np.random.default_rng(0)
    predicted = list(predict_out_of_fold(labeled, fold, c=0.1))
    rows = np.concatenate([rows for _, rows, _ in predicted])
    assert sorted(rows) == list(range(90))
    for number, rows, logits in predicted:
        embeddings, labels = labeled.embeddings.copy(), labeled.labels.copy()
        embeddings[rows[1:]] = rng.normal(size=embeddings[rows[1:]].shape)
        labels[rows] = rng.permutation(labels[rows])
        other = dataclasses.replace(labeled, embeddings=embeddings, labels=labels)
        again = {n: found for n, _, found in predict_out_of_fold(other, fold, c=0.1)}
        np.testing.assert_allclose(again[number][0], logits[0], rtol=1e-5)
        is_seen = np.isin(labeled.digests, np.array(labeled.digests)[rows])
        assert not is_seen[fold != number].any()


def test_c_is_that_of_scikit_learns_cross_validation(labeled):
    config = ProbeConfig(smallest_c=1e-4, largest_c=10.0, folds=4)
    chosen = choose_c(labeled, config)
    split = PredefinedSplit(folds_of(labeled))
    for c, loss in chosen.losses.items():
        pipeline = make_pipeline(Scaler(), LogisticRegression(C=c, max_iter=1_000))
        # Weighted by the size of the folds.
        scores = cross_val_score(
            pipeline,
            labeled.embeddings,
            labeled.labels,
            cv=split,
            scoring="neg_log_loss",
        )
        sizes = np.bincount(folds_of(labeled))
        assert loss == pytest.approx(-np.average(scores, weights=sizes), rel=0.01)
    assert chosen.value == min(chosen.losses, key=chosen.losses.__getitem__)
    assert not chosen.reason


def test_what_is_not_chosen_freely_is_said(labeled):
    config = ProbeConfig(folds=4)
    one_of_each = labeled.take(
        np.array([int(np.argmax(labeled.labels == each)) for each in range(5)])
    )
    chosen = choose_c(one_of_each, config)
    assert (chosen.value, chosen.losses) == (config.default_c, {})
    assert chosen.reason
    fixed = dataclasses.replace(config, smallest_c=2.0, largest_c=2.0)
    assert choose_c(labeled, fixed).value == 2.0
    small = dataclasses.replace(config, smallest_c=1e-4, largest_c=1e-3)
    assert choose_c(labeled, small).value == 1e-3
    assert "edge" in choose_c(labeled, small).reason


def test_little_is_learned_from_few_labels_but_something():
    """A head that has hardly learned is worse than none: its mean is of the others."""
    embeddings, labels = World(5, size=300, spread=1.5).draw(100, 0)
    rows = np.concatenate([np.flatnonzero(labels == each)[:2] for each in range(5)])
    few = label(embeddings[rows], labels[rows])
    assert choose_c(few, ProbeConfig(folds=2)).value > 1e-3


def test_many_images_are_searched_by_a_part_of_them(labeled):
    config = ProbeConfig(folds=3, max_search_images=45, largest_c=1e-2)
    chosen = choose_c(labeled, config)
    whole = choose_c(labeled, dataclasses.replace(config, max_search_images=90))
    assert chosen.losses.keys() == whole.losses.keys()
    assert chosen.losses != whole.losses


def test_it_is_as_good_as_scikit_learns_own():
    world = World(1, num_classes=4)
    embeddings, labels = world.draw(80, 0)
    unseen, truth = world.draw(2_000, 1)
    config = ProbeConfig(smallest_c=1e-4, largest_c=10.0)
    chosen = choose_c(label(embeddings, labels), config)
    found = fit_head(embeddings, labels, c=chosen.value).logits(unseen).argmax(axis=1)
    peer = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.geomspace(1e-4, 10, 11),
            scoring="neg_log_loss",
            l1_ratios=(0,),
            use_legacy_attributes=False,
        ),
    ).fit(embeddings, labels)
    assert (found == truth).mean() > (peer.predict(unseen) == truth).mean() - 0.005


def test_a_rare_class_is_among_the_images_to_search_with(labeled):
    """Of two classes, one alone cannot be learned."""
    rare = np.flatnonzero(labeled.labels == 0)[:2]
    rows = np.concatenate([np.flatnonzero(labeled.labels == 1), rare])
    for seed in range(8):
        config = ProbeConfig(max_search_images=1, seed=seed)
        assert choose_c(labeled.take(rows), config).losses


@pytest.mark.parametrize(
    "bounds",
    [
        {"smallest_c": 1e-310},
        {"smallest_c": 1e-18, "largest_c": 1e300},
        {"default_c": 1e40},
        {"smallest_c": 0.0},
        {"smallest_c": 2.0, "largest_c": 1.0},
    ],
)
def test_c_is_of_usual_size(bounds):
    with pytest.raises(ValueError, match="_c must"):
        ProbeConfig(**bounds)
