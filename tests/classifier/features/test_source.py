import pytest
import tensorflow as tf
from onnx import helper

from classifier.features.opening import open_features
from classifier.features.source import check_rows
from tests.classifier.features import onnx_models, saved_models


def put_first(model, *nodes):
    """Lets a network take `new`, which nodes make of its images."""
    model.graph.node[0].input[0] = "new"
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    return model


def with_noise():
    """A network that adds noise to its images."""
    return put_first(
        onnx_models.make_network(),
        helper.make_node("RandomNormalLike", ["pixel_values"], ["noise"]),
        helper.make_node("Add", ["pixel_values", "noise"], ["new"]),
    )


def with_batch_statistics():
    """A network that subtracts the mean of a batch."""
    return put_first(
        onnx_models.make_network(),
        helper.make_node("ReduceMean", ["pixel_values"], ["mean_of"], axes=[0]),
        helper.make_node("Sub", ["pixel_values", "mean_of"], ["new"]),
    )


@pytest.mark.parametrize("make", [with_noise, with_batch_statistics])
def test_a_graph_in_training_mode_is_refused(tmp_path, make):
    path = onnx_models.write(tmp_path / "network.onnx", make())
    with pytest.raises(ValueError, match="depend on chance or on other images"):
        check_rows(open_features(f"onnx:{path}"))


def test_features_that_are_not_finite_are_refused(tmp_path):
    model = put_first(
        onnx_models.make_network(),
        helper.make_node("Neg", ["pixel_values"], ["negative"]),
        helper.make_node("Add", ["negative", "negative"], ["more"]),
        helper.make_node("Log", ["more"], ["new"]),
    )
    path = onnx_models.write(tmp_path / "network.onnx", model)
    with pytest.raises(ValueError, match="are not finite"):
        check_rows(open_features(f"onnx:{path}"))


@pytest.mark.parametrize("batch", ["N", 1, 3])
def test_a_graph_as_it_is_used_is_accepted(tmp_path, batch):
    path = onnx_models.write(tmp_path / "network.onnx", batch=batch)
    check_rows(open_features(f"onnx:{path}"))


def test_a_saved_model_in_training_mode_is_refused(tmp_path):
    def center(images, weight):
        centered = images - tf.reduce_mean(images, [0, 1, 2])
        return saved_models.mean_colors(centered, weight)

    spec = saved_models.write(tmp_path / "model", center)
    with pytest.raises(ValueError, match="depend on chance or on other images"):
        check_rows(open_features(spec))
    check_rows(open_features(saved_models.write(tmp_path / "other")))
