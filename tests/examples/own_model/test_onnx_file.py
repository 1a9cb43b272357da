"""The example labels like the network itself; see docs/own_model.md."""

import io

import numpy as np
import onnx
from PIL import Image
from scipy.special import softmax

from beam_jobs.labeling.model_handler import ModelHandlerLoader
from examples.own_model import onnx_file
from tests.images import random_images, to_examples

SIZE = 32
CLASSES = 3
IMAGES = random_images(5)


def save_onnx(path, weights):
    """The mean of each channel, times a matrix."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "network",
        [helper.make_tensor_value_info("pixels", floats, ["B", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", floats, ["B", CLASSES])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def test_an_onnx_file_labels_as_its_formula_says(tmp_path):
    weights = np.random.default_rng(0).normal(size=(3, CLASSES)).astype(np.float32)
    save_onnx(tmp_path / "network.onnx", weights)
    loader = ModelHandlerLoader(
        spec=f"examples.own_model.onnx_file:OnnxHandler:{tmp_path}/network.onnx",
        num_classes=CLASSES,
    )
    means = [
        np.asarray(Image.open(io.BytesIO(image)).resize((SIZE, SIZE), 2)).mean((0, 1))
        for image in IMAGES
    ]
    scaled = (np.array(means) / 255 - onnx_file.MEAN) / onnx_file.DEVIATION
    predictor = loader.load()
    predicted = predictor.predict(predictor.decode(to_examples(IMAGES)))
    assert predicted.status == ["ok"] * len(IMAGES)
    found = predicted.probabilities
    np.testing.assert_allclose(found, softmax(scaled @ weights, axis=1), atol=1e-5)
    assert len({row.tobytes() for row in found}) == len(IMAGES)
