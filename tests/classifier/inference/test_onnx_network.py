"""Classifiers that are ONNX files, on their engines and beside others."""

import numpy as np
import onnxruntime
import pytest

from classifier.inference import conversion, engine, engine_autotune, onnx_network
from classifier.inference.engine import Engine
from classifier.inference.ensemble import BATCH_SIZE, Classifier, Ensemble
from classifier.inference.probabilities import softmax
from tests.images import random_images, to_examples

ALL = [Engine("onnxruntime"), Engine("openvino"), Engine("openvino", "bfloat16")]


@pytest.fixture(scope="module")
def images():
    return random_images(BATCH_SIZE)


@pytest.fixture(scope="module")
def pixels(exported_onnx, images):
    return Classifier(exported_onnx).preprocess(images)


@pytest.fixture(scope="module")
def expected(exported_onnx, pixels):
    """Logits and embedding of ONNX Runtime as it is, one image after the other."""
    session = onnxruntime.InferenceSession(exported_onnx / "network.onnx")
    rows = [session.run(None, {"pixels": pixels[i : i + 1]}) for i in range(BATCH_SIZE)]
    return [np.concatenate(arrays) for arrays in zip(*rows, strict=True)]


@pytest.mark.parametrize("chosen", ALL, ids=str)
def test_every_engine_computes_the_network(exported_onnx, pixels, expected, chosen):
    classifier = Classifier(exported_onnx, chosen, threads=1, embeddings=True)
    tolerance = 1e-4 if chosen.dtype == "float32" else 2e-2
    outputs = classifier.outputs(pixels)
    for found, wanted in zip(outputs, expected, strict=True):
        assert found.dtype == np.float32
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=tolerance * scale)
    alone = classifier.logits(pixels[5:6])
    np.testing.assert_array_equal(alone[0], outputs[0][5])
    np.testing.assert_array_equal(classifier.logits(pixels[:13]), outputs[0][:13])


def test_its_reference_is_chosen_by_default(exported_onnx, pixels, expected):
    found = Classifier(exported_onnx).logits(pixels)
    np.testing.assert_allclose(found, expected[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="tensorflow"):
        engine.candidates("tensorflow", networks=("onnx",))


def test_engines_are_timed_beside_the_reference(exported_onnx, images):
    classifier = Classifier(exported_onnx)
    assert classifier.reference == ALL[0]
    timings = engine_autotune.time_engines(
        classifier, ALL, to_examples(images), seconds=0.1
    )
    assert [timing.engine for timing in timings] == ALL
    assert timings[0].agreement == 1.0
    table = engine_autotune.describe(timings, ALL[1], classifier.reference)
    assert "onnxruntime float32" in table[0]


@pytest.mark.parametrize("chosen", [None, Engine("openvino")], ids=str)
def test_a_mixed_ensemble_averages(exported, exported_onnx, images, chosen):
    ensemble = Ensemble([exported[0], exported_onnx], chosen, embeddings=True)
    predictions = ensemble.predict(ensemble.decode(to_examples(images)))
    members = [Classifier(exported[0]), Classifier(exported_onnx)]
    probabilities = [softmax(m.logits(m.preprocess(images))) for m in members]
    np.testing.assert_allclose(
        predictions.probabilities, np.mean(probabilities, axis=0), atol=1e-4
    )
    np.testing.assert_allclose(
        np.linalg.norm(predictions.embeddings, axis=1), 1, rtol=1e-5
    )


def test_sessions_share_cores_only_when_waiting(monkeypatch):
    from tests.classifier.features.onnx_models import make_network

    model = make_network().SerializeToString()
    monkeypatch.setattr(onnx_network, "num_cores", lambda: 2)
    key = "session.intra_op.allow_spinning"
    for threads, spins in ((1, "0"), (2, "1"), (None, "1")):
        options = onnx_network.open_session(model, threads).get_session_options()
        assert options.get_session_config_entry(key) == spins
        assert options.intra_op_num_threads == (threads or 2)


def test_what_onnx_runtime_cannot_load_is_one_line(tmp_path):
    from tests.classifier.features.onnx_models import make_network

    model = make_network()
    model.graph.node[0].op_type = "Konv"
    with pytest.raises(
        ValueError, match=r"the graph: ONNX Runtime cannot.*Konv"
    ) as found:
        onnx_network.open_session(model.SerializeToString())
    assert "\n" not in str(found.value)
    path = tmp_path / "network.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=str(path)):
        onnx_network.open_session(path)


def test_it_is_exported_to_onnx_only(exported_onnx, tmp_path, pixels, expected):
    output = tmp_path / "student.onnx"
    conversion.check_output(str(output), "onnx")
    assert conversion.export(exported_onnx, str(output)).is_close
    session = onnxruntime.InferenceSession(output)
    logits = session.run(["logits"], {"pixels": pixels})[0]
    np.testing.assert_allclose(logits, expected[0], rtol=1e-4, atol=1e-4)
    assert (
        session.get_modelmeta().custom_metadata_map["class_names"] == '["a", "b", "c"]'
    )
    for name, kind in (("a.keras", "onnx"), ("a", "onnx"), ("a.keras", "saved_model")):
        with pytest.raises(ValueError, match=f"kind {kind} cannot be written"):
            conversion.check_output(str(tmp_path / name), kind)
