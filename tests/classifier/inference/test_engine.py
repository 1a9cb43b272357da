import numpy as np
import pytest

from classifier.inference import engine, engine_autotune
from classifier.inference.engine import REFERENCE, Engine
from classifier.inference.engine_autotune import EngineTiming
from classifier.inference.ensemble import BATCH_SIZE, Classifier, Ensemble
from tests.images import random_images

ALL = [Engine(name, other) for name in engine.ENGINES for other in engine.DTYPES]


@pytest.fixture
def machine(monkeypatch):
    """Makes a machine with everything; the test takes away."""

    def make(**has):
        for name in ("gpu", "openvino", "bfloat16"):
            value = has.get(name, name != "gpu")
            monkeypatch.setattr(engine, f"has_{name}", lambda value=value: value)

    make()
    return make


@pytest.fixture(scope="module")
def images():
    return random_images(BATCH_SIZE)


@pytest.fixture(scope="module")
def pixels(exported, images):
    return Classifier(exported[0]).preprocess(images)


def test_all_are_candidates_the_reference_first(machine):
    assert engine.candidates() == [ALL[0], *ALL[2:]]
    assert engine.candidates()[0] == REFERENCE


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({"gpu": True}, [REFERENCE]),
        ({"openvino": False}, ALL[:2]),
        ({"bfloat16": False}, [ALL[0], ALL[2]]),
        ({"openvino": False, "bfloat16": False}, [REFERENCE]),
    ],
)
def test_what_the_machine_has_not_is_no_candidate(machine, has, expected):
    machine(**has)
    assert engine.candidates() == expected


def test_what_is_asked_for_is_the_only_candidate(machine):
    machine(gpu=True, bfloat16=False)
    for one in ALL:
        assert engine.candidates(one.name, one.dtype) == [one]
    assert engine.candidates("openvino") == [ALL[2]]
    machine()
    assert engine.candidates("tensorflow") == ALL[:2]


def test_unknown_or_missing_engines_are_refused(machine):
    with pytest.raises(ValueError, match="expected engine auto or tensorflow or open"):
        engine.candidates("torch")
    with pytest.raises(ValueError, match="expected precision auto or float32"):
        engine.candidates("auto", "float16")
    machine(openvino=False)
    with pytest.raises(ValueError, match="OpenVINO is not installed"):
        engine.candidates("openvino")


@pytest.fixture(scope="module", params=ALL, ids=str)
def classifier(request, exported):
    return Classifier(exported[0], request.param, threads=1)


def test_every_engine_computes_the_model(classifier, request, exported, pixels):
    expected = np.asarray(exported[1](pixels, training=False))
    found = classifier.logits(pixels)
    assert found.dtype == np.float32
    tolerance = 0.05 if "bfloat16" in request.node.name else 1e-4
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_a_row_does_not_depend_on_its_neighbors(classifier, pixels):
    together = classifier.logits(pixels)
    order = np.random.default_rng(0).permutation(BATCH_SIZE)
    np.testing.assert_array_equal(classifier.logits(pixels[order]), together[order])
    for count in (1, 7):
        np.testing.assert_array_equal(
            classifier.logits(pixels[:count]), together[:count]
        )


@pytest.mark.parametrize("one", ALL[2:], ids=str)
def test_a_row_does_not_depend_on_the_number_of_threads(one, exported, pixels):
    first, second = (Classifier(exported[0], one, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(first.logits(pixels), second.logits(pixels))


def test_two_precisions_in_one_process_do_not_mix(exported, pixels):
    float32, bfloat16 = (Classifier(exported[0], one) for one in ALL[:2])
    before = float32.logits(pixels)
    rough = bfloat16.logits(pixels)
    np.testing.assert_array_equal(float32.logits(pixels), before)
    assert (rough != before).any() or not engine.has_bfloat16()


def test_an_ensemble_runs_on_the_engine(exported, exported_second, images):
    directories = [exported[0], exported_second[0]]
    expected, found = (
        ensemble.predict(ensemble.decode(images)).probabilities
        for ensemble in (Ensemble(directories), Ensemble(directories, ALL[2]))
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_trial_measures_all_and_compares_their_classes(exported, images):
    figures = engine_autotune.try_engines(
        Classifier(exported[0]), ALL, images, seconds=0.1
    )
    assert [one.engine for one in figures] == ALL
    assert figures[0].agreement == 1.0
    assert all(one.images_per_second > 0 for one in figures)
    table = engine_autotune.describe(figures, ALL[2])
    assert len(table) == 1 + len(ALL)
    assert [line for line in table if "chosen" in line] == [table[3]]


def test_a_trial_without_images_keeps_the_reference(exported):
    figures = engine_autotune.try_engines(Classifier(exported[0]), ALL, [b"text"] * 20)
    assert engine_autotune.choose(figures) == REFERENCE


def test_the_fastest_that_agrees_is_chosen():
    def choose(*speeds_and_agreements):
        return engine_autotune.choose(
            [
                EngineTiming(one, *figures)
                for one, figures in zip(ALL, speeds_and_agreements, strict=False)
            ]
        )

    assert choose((10, 1), (20, 1), (15, 1), (40, 1)) == ALL[3]
    assert choose((10, 1), (20, 1), (15, 1), (40, 0.99)) == ALL[1]
    assert choose((10, 1), (20, 0.9), (10.4, 1)) == REFERENCE  # Chance, perhaps.
    assert choose((10, 1), (9, 1)) == REFERENCE
    assert choose((10, 1)) == REFERENCE
