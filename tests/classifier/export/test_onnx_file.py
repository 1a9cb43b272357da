"""ONNX files that are broken, hostile or another classifier's."""

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from classifier.export import onnx_file
from classifier.export.facts import CLASSIFIER, ONNX, fingerprint, read_facts
from classifier.export.onnx_file import NETWORK
from classifier.export.saved_classifier import rebuild_network
from classifier.export.saved_model import read_ensemble_facts
from stage import artifact
from tests.classifier.features.onnx_models import make_network, write


def refuse(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        onnx_file.read_model(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x08\x08"])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    refuse(path, "expected an ONNX model")


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        onnx_file.read_model(tmp_path / "none.onnx")
    refuse(tmp_path, "expected a regular file")
    path = tmp_path / "network.onnx"
    write(path)
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
    refuse(path, "at most 100 bytes")


def hidden(node):
    """A network that has a node in a branch of a branch."""
    for _ in range(2):
        value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        branch = helper.make_graph([node], "branch", [], [value])
        node = helper.make_node(
            "If", ["condition"], ["y"], then_branch=branch, else_branch=branch
        )
    model = make_network()
    model.graph.node.append(node)
    return model


@pytest.mark.parametrize(
    ("operator", "domain", "message"),
    [
        ("PyOp", "ai.onnx.contrib", r"expected operators of ONNX.*contrib\.PyOp"),
        ("Anything", "com.example", r"com\.example\.Anything"),
        ("EPContext", "com.microsoft", "EPContext"),
    ],
)
def test_operators_of_others_are_refused(tmp_path, operator, domain, message):
    node = helper.make_node(operator, [], ["y"], domain=domain)
    model = make_network()
    model.graph.node.append(node)
    refuse(write(tmp_path / "plain.onnx", model), message)
    refuse(write(tmp_path / "hidden.onnx", hidden(node)), message)


def test_functions_are_refused(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    function = helper.make_function(
        "com.example", "Mine", ["x"], ["y"], [node], [helper.make_opsetid("", 17)]
    )
    model = make_network()
    model.functions.append(function)
    refuse(write(tmp_path / "network.onnx", model), "functions.*Mine.*inline")


def test_an_old_set_of_operators_is_refused(tmp_path):
    refuse(write(tmp_path / "network.onnx", opset=6), "operator set 7")


def outside(location, **more):
    """A network whose first tensor is said to be in another file."""
    model = make_network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.mark.parametrize(
    "location", ["/etc/hostname", "../secret", "inside/secret", "link", "none", "", "."]
)
def test_tensors_elsewhere_are_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(bytes(600))
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "secret").write_bytes(bytes(600))
    (folder / "link").symlink_to(tmp_path / "secret")
    path = folder / "network.onnx"
    write(path, outside(location))
    refuse(path, "expected tensors in a file beside it")


@pytest.mark.parametrize(
    "more", [{"offset": "-4"}, {"offset": "x"}, {"length": "9" * 30}, {"offset": "999"}]
)
def test_wrong_places_in_a_file_are_one_line(tmp_path, more):
    (tmp_path / "data").write_bytes(bytes(100))
    path = tmp_path / "network.onnx"
    write(path, outside("data", **more))
    refuse(path, 'tensors in "data"|expected at most')


def test_tensors_inside_nodes_are_seen():
    model = make_network()
    constant = helper.make_tensor("far", TensorProto.FLOAT, [1], [1.0])
    inner = helper.make_node("Constant", [], ["y"], value=constant)
    model = hidden(inner)
    names = [tensor.name for tensor in onnx_file.tensors(model)]
    assert names.count("far") == 4  # Both branches of both levels.


@pytest.fixture
def teacher(exported_onnx, tmp_path):
    return shutil.copytree(exported_onnx, tmp_path / "teacher")


def rewrite(teacher, change):
    """Changes a network, and `classifier.json` with it."""
    path = teacher / NETWORK
    model = onnx.load(str(path))
    change(model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    facts = read_facts(teacher)
    weights = [onnx_file.file_weights(path.read_bytes())]
    found = json.loads((teacher / CLASSIFIER).read_text())
    found["fingerprint"] = fingerprint(facts.image, facts.class_names, weights)
    artifact.write_json(teacher / CLASSIFIER, found)


def test_a_network_of_another_classifier_is_refused(teacher):
    content = (teacher / NETWORK).read_bytes()
    (teacher / NETWORK).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"network\.onnx: not the weights"):
        read_ensemble_facts([teacher])
    (teacher / NETWORK).unlink()
    with pytest.raises(ValueError, match=r"expected network\.onnx, found none"):
        read_ensemble_facts([teacher])


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.graph.output.pop(),
        lambda model: model.graph.output.pop(0),
        lambda model: setattr(model.graph.input[0], "name", "other"),
        lambda model: setattr(
            model.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 32
        ),
        lambda model: setattr(
            model.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 4
        ),
        lambda model: model.graph.input.append(model.graph.output[0]),
    ],
)
def test_other_inputs_and_outputs_are_refused(teacher, change):
    rewrite(teacher, change)
    with pytest.raises(ValueError, match=r"expected pixels \[N,40,40,3\]"):
        read_ensemble_facts([teacher])


def test_a_classifier_that_needs_other_files_is_refused(teacher):
    def change(model):
        tensor = model.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="network.data")

    rewrite(teacher, change)
    with pytest.raises(ValueError, match="expected all tensors in the file"):
        read_ensemble_facts([teacher])


def test_its_network_is_not_rebuilt(exported_onnx):
    assert read_facts(exported_onnx).network == ONNX
    with pytest.raises(ValueError, match="got one from onnx"):
        rebuild_network(exported_onnx)


def test_a_file_as_weights_is_its_bytes():
    np.testing.assert_array_equal(onnx_file.file_weights(b"\x01\x02"), [1, 2])
