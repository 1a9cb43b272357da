"""Features and teachers that are files of others."""

import shutil

import pytest
from onnx import TensorProto, helper

from tests.classifier.features import saved_models
from tests.classifier.features.onnx_models import make_network, write
from tests.commands import call
from tests.faults import page
from tests.faults.conftest import snapshot
from tests.images import random_images, write_folder


@pytest.fixture
def onnx_teacher(place, exported_onnx):
    shutil.rmtree(place.teacher)
    shutil.copytree(exported_onnx, place.teacher)
    return place.teacher


@page.holds("teacher whose ONNX file is another's")
def test_another_network(fault, place, onnx_teacher):
    write(onnx_teacher / "network.onnx")
    place.refused(fault, engine="openvino")


@page.holds("teacher that is an ONNX file, with an engine that does not run it")
def test_engine_of_another_kind(fault, place, onnx_teacher):
    place.refused(fault, engine="tensorflow")


@pytest.fixture
def refused(tmp_path):
    """Fits a probe to features that must be refused, and changes nothing."""
    write_folder(tmp_path / "labeled", random_images(4), [0, 1] * 2)

    def check(fault, features):
        before = snapshot(tmp_path)
        ended = call(
            "teacher.probe",
            f"--features={features}",
            f"--labeled=folder:{tmp_path}/labeled",
            f"--evaluation=folder:{tmp_path}/labeled",
            f"--workdir={tmp_path}/probe",
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith("error: ")
        assert ended.stderr.count("\n") == 1
        fault.check(ended.stderr)
        assert snapshot(tmp_path) == before

    return check


@page.holds("features in an ONNX file with operators of others")
def test_operators_of_others(fault, tmp_path, refused):
    model = make_network()
    model.graph.node.append(helper.make_node("PyOp", [], ["y"], domain="contrib"))
    refused(fault, f"onnx:{write(tmp_path / 'network.onnx', model)}")


@page.holds("features in an ONNX file whose tensors are outside its directory")
def test_tensors_elsewhere(fault, tmp_path, refused):
    (tmp_path / "secret").write_bytes(bytes(600))
    (tmp_path / "theirs").mkdir()
    model = make_network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    refused(fault, f"onnx:{write(tmp_path / 'theirs' / 'network.onnx', model)}")


@page.holds("features in a SavedModel that reads a file")
def test_graph_that_reads_a_file(fault, tmp_path, refused):
    hostile = saved_models.mean_colors_and_a_file
    refused(fault, saved_models.write(tmp_path / "theirs", hostile))
