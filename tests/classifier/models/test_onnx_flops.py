import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from classifier.models.onnx_flops import count_multiply_adds


def value(name, sides):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)


def make(nodes, sides, **constants):
    """Returns a model from `x` of any number of images to the last node's output."""
    tensors = [
        numpy_helper.from_array(np.zeros(shape, np.float32), name)
        for name, shape in constants.items()
    ]
    last = value(nodes[-1].output[0], None)
    graph = helper.make_graph(nodes, "g", [value("x", ["N", *sides])], [last], tensors)
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def test_a_convolution_of_groups():
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 2])
    model = make([node], [6, 9, 9], w=(4, 3, 3, 3))
    # 4x4 outputs of 4 filters, each of 3x3 pixels and of half of the 6 channels.
    assert count_multiply_adds(model) == 4 * 4 * 4 * 3 * 3 * 3


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_a_dense_layer(operator):
    model = make([helper.make_node(operator, ["x", "w"], ["y"])], [7], w=(7, 5))
    assert count_multiply_adds(model) == 7 * 5


def test_attention_multiplies_tokens_with_tokens():
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"]),
        helper.make_node("MatMul", ["weights", "x"], ["y"]),
    ]
    assert count_multiply_adds(make(nodes, [11, 6])) == 2 * 11 * 11 * 6


def test_shapes_that_only_a_run_tells():
    """Exporters compute them of the batch and of each other."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["all"]),
        helper.make_node("Concat", ["one", "all"], ["flat"], axis=0),
        helper.make_node("Reshape", ["x", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "w"], ["y"]),
    ]
    model = make(nodes, [3, 4], w=(12, 5))
    one = numpy_helper.from_array(np.array([1]), "one")
    model.graph.initializer.append(one)
    assert count_multiply_adds(model) == 12 * 5


def test_a_network_of_several_images_at_once_counts_one():
    model = make([helper.make_node("MatMul", ["x", "w"], ["y"])], [7], w=(7, 5))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    assert count_multiply_adds(model) == 7 * 5


def test_operators_that_do_not_multiply_cost_nothing():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["y"]),
    ]
    assert count_multiply_adds(make(nodes, [8])) == 0


@pytest.mark.parametrize("operator", ["Einsum", "LSTM"])
def test_what_cannot_be_counted_is_not_known(operator):
    more = {"equation": "ni,ij->nj"} if operator == "Einsum" else {}
    node = helper.make_node(operator, ["x", "w"], ["y"], **more)
    assert count_multiply_adds(make([node], [7], w=(7, 5))) is None


def test_an_operator_of_somebody_else_is_not_known():
    node = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft")
    assert count_multiply_adds(make([node], [7], w=(7, 5))) is None


def test_images_of_an_open_size_are_not_known():
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    assert count_multiply_adds(make([node], [3, "S", "S"], w=(4, 3, 3, 3))) is None


def test_the_model_stays_as_it_is():
    model = make([helper.make_node("MatMul", ["x", "w"], ["y"])], [7], w=(7, 5))
    before = model.SerializeToString()
    count_multiply_adds(model)
    assert model.SerializeToString() == before
