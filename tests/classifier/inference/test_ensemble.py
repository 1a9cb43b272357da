import json
import re
import shutil

import numpy as np
import pytest

from classifier.export.facts import read_facts
from classifier.inference.ensemble import (
    BATCH_SIZE,
    Classifier,
    Ensemble,
    join_embeddings,
    measure_lengths,
)
from classifier.inference.probabilities import mean_probabilities
from tests.conftest import CLASS_NAMES
from tests.images import random_images, to_examples


@pytest.fixture(scope="module")
def images():
    return random_images(5)


def predicted(ensemble, images):
    return ensemble.predict(ensemble.decode(to_examples(images)))


def test_an_ensemble_is_the_mean_of_its_members_at_their_own_sizes(
    exported, exported_second, images
):
    directories = [exported[0], exported_second[0]]
    each = [predicted(Ensemble([d]), images).probabilities for d in directories]
    both = predicted(Ensemble(directories), images)
    np.testing.assert_allclose(both.probabilities, (each[0] + each[1]) / 2, atol=1e-7)
    np.testing.assert_allclose(both.probabilities.sum(-1), 1.0, rtol=1e-6)
    assert both.status == ["ok"] * len(images)


def test_a_warm_up_runs_every_member(exported, exported_second, monkeypatch):
    calls = []
    for name in ("preprocess", "outputs"):
        method = getattr(Classifier, name)

        def record(self, values, name=name, method=method):
            calls.append((name, self.image.size))
            return method(self, values)

        monkeypatch.setattr(Classifier, name, record)
    ensemble = Ensemble([exported[0], exported_second[0]])
    sizes = [read_facts(d).image.size for d, _ in (exported, exported_second)]
    assert calls == []
    ensemble.warm_up()
    expected = [(name, size) for name in ("preprocess", "outputs") for size in sizes]
    assert sorted(calls) == sorted(expected)


def test_a_row_does_not_depend_on_its_neighbors(exported):
    images = random_images(BATCH_SIZE)
    ensemble = Ensemble([exported[0]])
    together = predicted(ensemble, images)
    for count in (1, 7):
        alone = predicted(ensemble, images[:count])
        np.testing.assert_array_equal(
            alone.probabilities, together.probabilities[:count]
        )


def test_a_bad_image_is_a_row_with_a_reason_and_harms_no_other(exported, images):
    ensemble = Ensemble([exported[0]])
    good = predicted(ensemble, images)
    mixed = [images[0], b"", images[1], b"text", images[2][:60], *images[3:]]
    result = predicted(ensemble, mixed)
    assert result.status == ["ok", "empty", "ok", *["undecodable"] * 2, "ok", "ok"]
    assert [bool(error) for error in result.error] == [s != "ok" for s in result.status]
    assert "JPEG" in result.error[3]
    assert re.fullmatch(r"Invalid PNG data, size \d+", result.error[4])
    np.testing.assert_array_equal(
        result.probabilities[[0, 2, 5, 6]], good.probabilities[[0, 1, 3, 4]]
    )
    assert not result.probabilities[[1, 3, 4]].any()


def test_each_member_has_the_temperature_of_its_export(
    exported, exported_second, images, tmp_path
):
    no_export = shutil.ignore_patterns("export")
    shutil.copytree(exported[0], tmp_path / "soft", ignore=no_export)
    (tmp_path / "soft" / "export").symlink_to(exported[0] / "export")
    path = tmp_path / "soft" / "classifier.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "temperature": 2.0}))
    sharp, soft, other = (
        predicted(Ensemble([directory]), images).probabilities
        for directory in (exported[0], tmp_path / "soft", exported_second[0])
    )
    expected = np.sqrt(sharp) / np.sqrt(sharp).sum(-1, keepdims=True)
    np.testing.assert_allclose(soft, expected, rtol=1e-4)
    both = predicted(Ensemble([tmp_path / "soft", exported_second[0]]), images)
    np.testing.assert_allclose(both.probabilities, (soft + other) / 2, atol=1e-7)


def test_one_temperature_softens_every_member(exported, exported_second, images):
    directories = [exported[0], exported_second[0]]
    each = [Ensemble([d], temperature=3.0) for d in directories]
    softer = [predicted(ensemble, images).probabilities for ensemble in each]
    both = predicted(Ensemble(directories, temperature=3.0), images).probabilities
    np.testing.assert_allclose(both, (softer[0] + softer[1]) / 2, atol=1e-7)
    sharp = predicted(Ensemble(directories[:1]), images).probabilities
    expected = np.cbrt(sharp) / np.cbrt(sharp).sum(-1, keepdims=True)
    np.testing.assert_allclose(softer[0], expected, rtol=1e-4)


def test_probabilities_come_from_the_logits_of_those_that_decode(
    exported, exported_second, images
):
    ensemble = Ensemble([exported[0], exported_second[0]])
    decoded = ensemble.decode(to_examples([images[0], b"text", *images[1:]]))
    logits = ensemble.logits(decoded)
    assert logits.shape == (2, len(images), len(CLASS_NAMES))
    np.testing.assert_array_equal(
        mean_probabilities(logits, [1.0, 1.0]),
        ensemble.predict(decoded).probabilities[[0, 2, 3, 4, 5]],
    )
    assert ensemble.logits(ensemble.decode(to_examples([b"text"]))).shape == (2, 0, 3)


def cosines(features):
    lengths = np.linalg.norm(features, axis=1)
    return features @ features.T / np.outer(lengths, lengths)


def test_products_of_joined_embeddings_are_the_mean_cosines_of_the_members():
    rng = np.random.default_rng(0)
    members = [rng.standard_normal((6, size)).astype(np.float32) for size in (5, 9, 2)]
    joined = join_embeddings(members)
    expected = np.mean([cosines(features) for features in members], axis=0)
    assert joined.shape == (6, 16)
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-6)
    assert not join_embeddings([np.zeros((2, 3), np.float32)]).any()


def test_predictions_have_embeddings_on_demand(exported, exported_second, images):
    directories = [exported[0], exported_second[0]]
    given = [images[0], b"text", *images[1:]]
    plain = predicted(Ensemble(directories), given)
    more = predicted(Ensemble(directories, embeddings=True), given)
    assert plain.embeddings is None
    np.testing.assert_array_equal(more.probabilities, plain.probabilities)
    lengths = np.linalg.norm(more.embeddings, axis=1)
    np.testing.assert_allclose(lengths, [1, 0, 1, 1, 1, 1], rtol=1e-6)
    none = predicted(Ensemble(directories, embeddings=True), [b"text"])
    assert len(none.embeddings) == 1
    assert more.embedding_norms is None


def test_one_member_has_the_length_of_its_features(exported, images):
    ensemble = Ensemble(exported[:1], embeddings=True)
    given = [images[0], b"text", *images[1:]]
    decoded = ensemble.decode(to_examples(given))
    found = ensemble.predict(decoded)
    raw = Classifier(exported[0], embeddings=True).outputs(decoded.pixels)[1]
    expected = np.where(np.arange(6) == 1, 0, np.linalg.norm(raw, axis=1))
    np.testing.assert_allclose(found.embedding_norms, expected, rtol=1e-6)
    rebuilt = found.embeddings * found.embedding_norms[:, None]
    np.testing.assert_allclose(rebuilt[2:], raw[2:], rtol=1e-5)
    none = predicted(ensemble, [b"text"])
    assert none.embedding_norms.tolist() == [0]


def test_features_that_are_not_finite_have_no_length():
    features = np.array([[3, 4], [np.nan, 1], [np.inf, 1], [0, 0]], np.float32)
    lengths = measure_lengths(features)[:, 0]
    assert lengths[[0, 3]].tolist() == [5, 0]
    assert not np.isfinite(lengths[1:3]).any()
