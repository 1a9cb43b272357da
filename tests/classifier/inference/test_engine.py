import gc

import numpy as np
import pytest

from classifier.inference import engine
from classifier.inference.engine import REFERENCE, Engine
from classifier.inference.ensemble import BATCH_SIZE, Classifier, Ensemble
from tests.images import random_images, to_examples

#: Those that run a SavedModel.
ALL = [
    Engine(name, dtype)
    for name in ("tensorflow", "openvino")
    for dtype in engine.DTYPES
]


@pytest.fixture
def machine(monkeypatch):
    """Pretends to be a machine; by default with everything but a GPU."""

    def make(*, gpu=False, openvino=True, bfloat16=True):
        monkeypatch.setattr(engine, "has_gpu", lambda: gpu)
        monkeypatch.setattr(engine, "has_openvino", lambda: openvino)
        monkeypatch.setattr(engine, "has_bfloat16", lambda: bfloat16)

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
def test_what_the_machine_lacks_is_no_candidate(machine, has, expected):
    machine(**has)
    assert engine.candidates() == expected


def test_what_is_asked_for_is_the_only_candidate(machine):
    machine(gpu=True, bfloat16=False)
    for candidate in ALL:
        assert engine.candidates(candidate.name, candidate.dtype) == [candidate]
    assert engine.candidates("openvino") == [ALL[2]]
    machine()
    assert engine.candidates("tensorflow") == ALL[:2]


def test_unknown_or_missing_engines_are_refused(machine):
    with pytest.raises(ValueError, match="torch"):
        engine.candidates("torch")
    with pytest.raises(ValueError, match=r"dtype.*float16"):
        engine.candidates("auto", "float16")
    machine(openvino=False)
    with pytest.raises(ValueError, match="--engine=openvino"):
        engine.candidates("openvino")


def test_onnx_files_have_engines_of_their_own(machine):
    first, plain, fast = (
        Engine("onnxruntime"),
        Engine("openvino"),
        Engine("openvino", "bfloat16"),
    )
    assert engine.candidates(networks={"onnx"}) == [first, plain, fast]
    assert engine.candidates(networks={"onnx", "keras"}) == [plain, fast]
    assert engine.candidates("onnxruntime", networks={"onnx"}) == [first]
    with pytest.raises(ValueError, match="runs on tensorflow or openvino"):
        engine.candidates("onnxruntime")
    with pytest.raises(ValueError, match="runs on onnxruntime or openvino"):
        engine.candidates("tensorflow", networks={"onnx"})
    with pytest.raises(ValueError, match="float32 only"):
        engine.candidates("onnxruntime", "bfloat16", {"onnx"})
    machine(gpu=True)
    assert engine.candidates(networks={"onnx"}) == [first, plain]
    machine(openvino=False)
    assert engine.candidates(networks={"onnx"}) == [first]
    with pytest.raises(ValueError, match="only OpenVINO"):
        engine.candidates(networks={"onnx", "saved_model"})
    with pytest.raises(ValueError, match="float32 only"):
        Engine("onnxruntime", "bfloat16")


@pytest.fixture(scope="module", params=ALL, ids=str)
def classifier(request, exported):
    return Classifier(exported[0], request.param, threads=1)


def test_every_engine_computes_the_model(classifier, request, exported, pixels):
    expected = np.asarray(exported[1](pixels, training=False))
    logits = classifier.logits(pixels)
    assert logits.dtype == np.float32
    tolerance = 0.05 if "bfloat16" in request.node.name else 1e-4
    assert np.abs(logits - expected).max() <= tolerance * np.abs(expected).max()


def test_every_engine_gives_the_features_behind_the_logits(exported, pixels):
    for one in ALL:
        logits, embedding = Classifier(exported[0], one, embeddings=True).outputs(
            pixels
        )
        expected = Classifier(exported[0], one).logits(pixels)
        np.testing.assert_allclose(logits, expected, rtol=1e-6)
        *_, kernel, bias = exported[1].get_weights()
        tolerance = 0.05 if one.dtype == "bfloat16" else 1e-5
        found = embedding @ kernel + bias
        assert np.abs(found - logits).max() <= tolerance * np.abs(logits).max()


def test_a_row_does_not_depend_on_its_neighbors(classifier, pixels):
    together = classifier.logits(pixels)
    is_kept = np.arange(BATCH_SIZE) % 3 != 1
    mixed = np.where(is_kept[:, None, None, None], pixels, 255 - pixels)
    logits = classifier.logits(mixed)
    np.testing.assert_array_equal(logits[is_kept], together[is_kept])
    assert (logits[~is_kept] != together[~is_kept]).any(axis=1).all()
    for count in (1, 7):
        np.testing.assert_array_equal(
            classifier.logits(pixels[:count]), together[:count]
        )


def test_a_row_depends_on_its_place_by_rounding_alone(classifier, pixels):
    """Processors add the last row of a batch in another order than the others."""
    together = classifier.logits(pixels)
    rounding = {"rtol": 0, "atol": 1e-5 * np.abs(together).max()}
    order = np.random.default_rng(0).permutation(BATCH_SIZE)
    for rows in (order, [BATCH_SIZE - 1]):
        found = classifier.logits(pixels[rows])
        np.testing.assert_allclose(found, together[rows], **rounding)


@pytest.mark.parametrize("openvino", ALL[2:], ids=str)
def test_a_row_does_not_depend_on_the_number_of_threads(openvino, exported, pixels):
    first, second = (Classifier(exported[0], openvino, threads=n) for n in (1, 2))
    np.testing.assert_array_equal(first.logits(pixels), second.logits(pixels))


def test_two_dtypes_in_one_process_do_not_mix(exported, pixels):
    float32, bfloat16 = (Classifier(exported[0], one) for one in ALL[:2])
    before = float32.logits(pixels)
    rough = bfloat16.logits(pixels)
    np.testing.assert_array_equal(float32.logits(pixels), before)
    assert (rough != before).any() or not engine.has_bfloat16()


def test_an_ensemble_runs_on_the_engine(exported, exported_second, images):
    directories = [exported[0], exported_second[0]]
    expected, actual = (
        ensemble.predict(ensemble.decode(to_examples(images))).probabilities
        for ensemble in (Ensemble(directories), Ensemble(directories, ALL[2]))
    )
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_a_network_outlives_its_loader(exported, config):
    loader = engine.NetworkLoader(exported[0] / "export")
    network = loader.load(REFERENCE, batch_size=2, threads=1)
    del loader
    gc.collect()
    size = config.image.size
    assert network(np.zeros([2, size, size, 3], np.uint8)).shape == (2, 3)
