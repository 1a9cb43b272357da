import dataclasses

import numpy as np
import pytest

from benchmarks.measuring import predictions
from benchmarks.propagation import inputs, runs
from pseudo_label.predictions.prediction_set import open_predictions
from tests.benchmarks.propagation.conftest import BLOCK_ROWS, IMAGES, SHARD_ROWS, SPACE


def test_the_predictions_are_such_as_the_job_reads(made):
    corpus, labeled = (
        open_predictions(str(path)) for path in (made.predictions, made.labeled)
    )
    assert (corpus.num_images, corpus.num_shards) == (IMAGES, 3)
    assert (labeled.num_images, labeled.num_shards) == (SPACE.labeled, 1)
    assert corpus.embedding_size == SPACE.features
    assert len(corpus.class_names) == corpus.top_k == SPACE.classes
    assert corpus.teachers == labeled.teachers
    features = [runs.read_features(images) for images in (labeled, corpus)]
    assert [len(rows) for rows in features] == [SPACE.labeled, IMAGES]
    assert features[0].dtype == np.float16
    every = np.concatenate(features).astype(np.float32)
    np.testing.assert_allclose(np.linalg.norm(every, axis=1), 1, atol=2e-3)
    assert len(np.unique(every, axis=0)) == SPACE.labeled + IMAGES
    distributions = runs.read_distributions(corpus)
    np.testing.assert_allclose(distributions.sum(axis=1), 1, rtol=1e-5)
    labels = np.concatenate([runs.read_labels(corpus, shard) for shard in range(3)])
    np.testing.assert_array_equal(distributions.argmax(axis=1), labels)
    assert 0.6 < np.mean(labels == runs.read_truth(corpus)) < 0.95


def test_the_same_numbers_make_the_same_bytes(made, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(predictions, "BLOCK_ROWS", BLOCK_ROWS)
    again = inputs.open_inputs(tmp_path, SPACE, images=IMAGES)
    assert again.predictions.name == made.predictions.name
    for path in made.predictions.glob("*.parquet"):
        assert path.read_bytes() == (again.predictions / path.name).read_bytes()


def test_what_is_there_is_not_made_again(made, monkeypatch):
    monkeypatch.setattr(predictions, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(inputs, "_make_blocks", None)
    root = made.predictions.parent
    assert inputs.open_inputs(root, SPACE, images=IMAGES) == made


@pytest.mark.parametrize("change", [{"seed": 4}, {"labeled": 61}, {"features": 17}])
def test_another_space_has_another_directory(made, tmp_path, change):
    space = dataclasses.replace(SPACE, **change)
    other = inputs.open_inputs(tmp_path, space, images=10)
    assert other.predictions.name not in {made.predictions.name, made.labeled.name}
    assert other.labeled.name != made.labeled.name


def test_everything_is_drawn_from_numbers_of_its_own(tmp_path, monkeypatch):
    states = []

    def default_rng(seed):
        states.append(tuple(np.random.SeedSequence(seed).generate_state(4)))
        return made(seed)

    made = np.random.default_rng
    monkeypatch.setattr(predictions, "SHARD_ROWS", SHARD_ROWS)
    monkeypatch.setattr(np.random, "default_rng", default_rng)
    inputs.open_inputs(tmp_path, SPACE, images=IMAGES)
    # The clusters are the same for all four shards.
    assert len(states) == 8
    assert len(set(states)) == 5


def test_near_images_mostly_have_the_same_class():
    space = inputs.FeatureSpace()
    rng = np.random.default_rng(0)
    truth, features = inputs.draw(rng, *inputs.make_clusters(space), 4000)
    assert 300 < np.bincount(truth).min() < np.bincount(truth).max() < 500
    cosines = features.astype(np.float32) @ features.T.astype(np.float32)
    np.fill_diagonal(cosines, -1)
    same = np.mean(truth[cosines.argmax(axis=1)] == truth)
    assert 0.8 < same < 0.99
