"""Features of Keras networks, and classifiers made of them and a head."""

import dataclasses

import numpy as np
import pytest

from classifier.export.facts import read_facts
from classifier.export.head import Head, read_head
from classifier.export.saved_classifier import rebuild_network
from classifier.export.saved_model import read_ensemble_facts
from classifier.features.opening import open_features
from classifier.inference.ensemble import Classifier
from tests.classifier.features import probes
from tests.classifier.features.probes import make_head
from tests.conftest import export
from tests.images import random_images


@pytest.fixture(scope="module")
def images():
    return random_images(5, 7)


@pytest.fixture(scope="module")
def source(exported):
    return open_features(str(exported[0]))


@pytest.fixture(scope="module")
def probe(source, tmp_path_factory):
    """Directory of a classifier of four classes with a random head, and the head."""
    head = make_head(source.size, 4)
    directory = tmp_path_factory.mktemp("probes") / "probe"
    probes.export(source, directory, head, class_names=tuple("abcd"), num_embedded=10)
    return directory, head


def test_features_are_the_classifiers(source, exported, images):
    classifier = Classifier(exported[0], embeddings=True)
    extractor = source.load()
    pixels = extractor.preprocess(images)
    np.testing.assert_array_equal(pixels, classifier.preprocess(images))
    embeddings = extractor(pixels)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (5, source.size)
    np.testing.assert_allclose(
        embeddings, classifier.outputs(pixels)[1], rtol=1e-5, atol=1e-6
    )
    assert source.fingerprint == read_facts(exported[0]).features


def test_a_row_does_not_depend_on_its_neighbors(source, images):
    extractor = source.load()
    pixels = extractor.preprocess(images)
    together = extractor(np.concatenate([pixels] * 8))
    for row in (0, 4):
        np.testing.assert_array_equal(
            extractor(pixels[row : row + 1])[0], together[row]
        )


def test_what_is_exported_is_features_and_head(probe, source, images):
    directory, head = probe
    (facts,) = read_ensemble_facts([directory])
    assert facts.class_names == ("a", "b", "c", "d")
    assert facts.features == source.fingerprint
    assert facts.multiply_adds == 10 * facts.image_multiply_adds
    extractor = source.load()
    pixels = extractor.preprocess(images)
    expected = extractor(pixels) @ head.kernel + head.bias
    classifier = Classifier(directory)
    np.testing.assert_allclose(
        classifier.logits(pixels), expected, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        rebuild_network(directory)(pixels), expected, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(read_head(directory, facts).kernel, head.kernel)
    assert open_features(str(directory)).fingerprint == source.fingerprint


def test_another_size_gives_other_features(source, exported, images):
    larger = open_features(str(exported[0]), ["image.size=48"])
    assert larger.image == dataclasses.replace(source.image, size=48)
    assert larger.fingerprint != source.fingerprint
    extractor = larger.load()
    assert extractor(extractor.preprocess(images)).shape == (5, source.size)


def test_what_does_not_fit_is_refused(source, tmp_path, exported):
    head = Head(np.zeros((source.size, 2), np.float32), np.zeros(2, np.float32))
    names = {"class_names": ("a", "b", "c"), "evaluation": probes.EVALUATION}
    with pytest.raises(ValueError, match="3 classes"):
        source.export(head, tmp_path, **names)
    normalizing = dataclasses.replace(head, normalize=True)
    with pytest.raises(ValueError, match="raw embeddings"):
        source.export(normalizing, tmp_path, **names | {"class_names": ("a", "b")})
    with pytest.raises(ValueError, match=r"image\.sise"):
        open_features(str(exported[0]), ["image.sise=48"])
    with pytest.raises(FileNotFoundError):
        open_features(str(tmp_path / "none"))


@pytest.mark.slow
def test_a_network_of_keras_applications_works_as_well(config, tmp_path, images):
    model = dataclasses.replace(config.model, name="MobileNet")
    directory, _ = export(
        tmp_path / "mobile", dataclasses.replace(config, model=model), seed=1
    )
    source = open_features(str(directory))
    classifier = Classifier(directory, embeddings=True)
    extractor = source.load()
    pixels = extractor.preprocess(images)
    np.testing.assert_allclose(
        extractor(pixels), classifier.outputs(pixels)[1], rtol=1e-5, atol=1e-6
    )
    facts = read_facts(directory)
    logits = read_head(directory, facts).logits(extractor(pixels))
    np.testing.assert_allclose(logits, classifier.logits(pixels), rtol=1e-4, atol=1e-5)
    probes.export(source, tmp_path / "probe", read_head(directory, facts))
    assert read_facts(tmp_path / "probe").fingerprint == facts.fingerprint
