"""A new head before training is that of a probe of the same features."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from classifier.data import python_reader
from classifier.features.source import Extractor
from classifier.models.config import ModelConfig
from classifier.models.embedding import EMBEDDING, head_weights, with_embedding
from classifier.probing import cross_validation, head_first
from classifier.training import presets, trainer
from tests.classifier.probing.embeddings_of_classes import Scaler
from tests.images import random_images, write_folder


@pytest.fixture
def run(tmp_path):
    """A run that is not begun, on twelve images of two classes."""
    write_folder(tmp_path, random_images(12), [index % 2 for index in range(12)])
    sources = trainer.open_sources(
        labeled=f"folder:{tmp_path}", evaluation=f"folder:{tmp_path}"
    )
    model = ModelConfig(name="resnet_rs_14", width_multiplier=0.125)
    config = dataclasses.replace(presets.tiny(), model=model, fitted_head=True)
    found = trainer.open_run(config, sources)
    return dataclasses.replace(found, initial_weights={"new_head": True})


def test_head_is_the_logistic_regression_on_the_embeddings(run, monkeypatch):
    chosen = cross_validation.ChosenC(0.1, "given")
    monkeypatch.setattr(cross_validation, "choose_c", lambda *given: chosen)
    source = run.labeled
    examples = list(python_reader.read_examples(source.reader, source.files))
    extractor = Extractor(run.config.image, lambda pixels: pixels)
    pixels = extractor.preprocess([example.image for example in examples])
    labels = [example.label for example in examples]
    embeddings = with_embedding(run.model).predict(pixels, verbose=0)[EMBEDDING]
    oracle = make_pipeline(Scaler(), LogisticRegression(C=0.1, max_iter=1000))
    oracle.fit(embeddings, labels)
    head_first.fit_new_head(run)
    logits = run.model.predict(pixels, verbose=0)
    np.testing.assert_allclose(
        logits[:, 1] - logits[:, 0], oracle.decision_function(embeddings), atol=1e-3
    )


@pytest.mark.parametrize(
    ("is_fitted", "initial"),
    [(False, {"new_head": True}), (True, {"new_head": False}), (True, None)],
)
def test_other_heads_stay(run, is_fitted, initial):
    config = dataclasses.replace(run.config, fitted_head=is_fitted)
    before = head_weights(run.model)[0]
    head_first.fit_new_head(
        dataclasses.replace(run, config=config, initial_weights=initial)
    )
    np.testing.assert_array_equal(head_weights(run.model)[0], before)


def test_what_cannot_be_fitted_is_refused_and_changes_nothing(run):
    before = head_weights(run.model)[0]
    is_of_first = [
        np.array([label == 0 for _, label in of_file]) for of_file in run.labeled.labels
    ]
    alone = dataclasses.replace(run, labeled=run.labeled.subset(is_of_first))
    with pytest.raises(ValueError, match="expected an image of each class"):
        head_first.fit_new_head(alone)
    np.testing.assert_array_equal(head_weights(run.model)[0], before)
