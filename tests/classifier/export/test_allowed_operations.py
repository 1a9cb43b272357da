"""Graphs that do more than decode images and compute are not loaded."""

import dataclasses
import shutil

import pytest
import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from classifier.export import saved_model
from classifier.export.allowed_operations import (
    OTHERS,
    SAVER_OPERATIONS,
    check_operations,
)
from classifier.export.saved_model import read_ensemble_facts
from classifier.models.config import ModelConfig
from tests.commands import ROOT
from tests.conftest import export

#: One network of each kind; others differ in the number and size of their layers.
FAMILIES = (
    *("resnet_rs_14", "ConvNeXtTiny", "DenseNet121", "EfficientNetB0"),
    *("EfficientNetV2B0", "EfficientNetV2S", "InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Large", "NASNetMobile", "ResNet50"),
    *("ResNet50V2", "VGG16", "Xception"),
)
#: Write, read, delete, connect, call Python, load code, or leave the graph.
DOORS = (
    *("WriteFile", "ReadFile", "MatchingFiles", "SaveV2", "Save", "SaveSlices"),
    *("RestoreV2", "Restore", "MergeV2Checkpoints", "ShardedFilename"),
    *("PyFunc", "PyFuncStateless", "EagerPyFunc", "HostConst", "PrintV2"),
    *("TFRecordDataset", "TextLineDatasetV2", "TFRecordReaderV2", "SaveDatasetV2"),
    *("LoadDataset", "SnapshotDatasetV2", "CacheDatasetV2", "IteratorGetNext"),
    *("InitializeTableFromTextFileV2", "HashTableV2", "WholeFileReaderV2"),
    *("CreateSummaryFileWriter", "WriteImageSummary", "DebugIdentityV2"),
    *("_Send", "_Recv", "RemoteCall", "CollectiveReduceV2", "DataServiceDatasetV4"),
    *("StatefulPartitionedCall_", "TPUPartitionedCall", "XlaLaunch", "NoSuchOperation"),
)


@pytest.fixture(scope="module")
def content(exported):
    return (exported[0] / "export" / "saved_model.pb").read_bytes()


@pytest.fixture
def graph(content):
    """The exported graph, to be changed."""
    return saved_model_pb2.SavedModel.FromString(content).meta_graphs[0]


def find_function(graph, part):
    functions = graph.graph_def.library.function
    return next(f for f in functions if part in f.signature.name)


def find_saver(graph):
    return find_function(graph, "traced_save")


def refused(graph, match):
    with pytest.raises(ValueError, match=match):
        check_operations(graph, "DIR")


def test_what_we_export_is_let_through(graph):
    check_operations(graph, "DIR")


def test_what_earlier_versions_exported_is_let_through():
    path = ROOT / "tests" / "data" / "classifier_before_move" / "export"
    saved_model.check_signatures(path, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_network_is_let_through(name, config, tmp_path):
    """As it is exported, since a SavedModel also holds functions for gradients."""
    image = dataclasses.replace(config.image, size=96)
    recipe = dataclasses.replace(config, model=ModelConfig(name=name), image=image)
    export(tmp_path / "network", recipe, seed=1)
    (facts,) = read_ensemble_facts([tmp_path / "network"])
    assert facts.image.size == 96


def test_every_allowed_operation_is_one_of_tensorflow():
    known = {name for name in dir(tf.raw_ops) if not name.startswith("_")}
    assert SAVER_OPERATIONS - known == set()


def test_what_networks_of_others_have_is_computation():
    """TensorFlow itself calls stateful what does anything else."""
    stateful = {name for name in OTHERS if op_def_registry.get(name).is_stateful}
    assert stateful == set()


@pytest.mark.parametrize("name", DOORS)
def test_any_other_operation_is_refused_in_any_function(graph, name):
    door = NodeDef(name="door", op=name)
    new = graph.graph_def.library.function.add()
    wrapper = find_function(graph, "signature_wrapper")
    body = find_function(graph, "while_body")
    for nodes in (graph.graph_def.node, *(f.node_def for f in (new, wrapper, body))):
        nodes.append(door)
        refused(graph, f"DIR: .*'{name}'")
        del nodes[-1]
    check_operations(graph, "DIR")


def test_the_saver_holds_nothing_else(graph):
    find_saver(graph).node_def.add(name="door", op="WriteFile")
    refused(graph, "'WriteFile'")


def test_a_call_of_the_saver_by_another_function_is_refused(graph):
    call = NodeDef(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = find_saver(graph).signature.name
    find_function(graph, "signature_wrapper").node_def.append(call)
    refused(graph, "traced_save")


def test_a_call_of_the_saver_by_another_node_is_refused(graph):
    call = NodeDef(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = find_saver(graph).signature.name
    graph.graph_def.node.append(call)
    refused(graph, "traced_save")


def test_an_object_that_is_the_savers_function_is_refused(graph):
    """TensorFlow finds signatures, and what restores variables, by their objects."""
    name = find_saver(graph).signature.name
    objects = graph.object_graph_def
    objects.nodes.add().bare_concrete_function.concrete_function_name = name
    refused(graph, "traced_save")


def test_another_function_is_not_the_savers_by_being_named_there(graph):
    """What the saver names may write files, so nothing else may call it."""
    node = next(n for n in graph.graph_def.node if n.op == "StatefulPartitionedCall")
    called = find_function(graph, node.attr["f"].func.name)
    called.node_def.add(name="door", op="SaveV2")
    graph.saver_def.save_tensor_name = f"{node.name}:0"
    refused(graph, r"'SaveV2'|'MergeV2Checkpoints'|signature_wrapper")


def test_a_graph_without_objects_is_refused(graph):
    """TensorFlow would run nodes that the graph names to restore its weights."""
    graph.ClearField("object_graph_def")
    refused(graph, "TensorFlow 2")


def test_nothing_is_loaded_before_the_check(exported, tmp_path, monkeypatch):
    directory = shutil.copytree(exported[0] / "export", tmp_path / "export")
    path = directory / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    saved.meta_graphs[0].graph_def.node.add(name="door", op="WriteFile")
    path.write_bytes(saved.SerializeToString())
    monkeypatch.setattr(tf.saved_model, "load", lambda *_, **__: pytest.fail("loaded"))
    for load in (
        saved_model.load,
        saved_model.load_preprocess,
        lambda export: saved_model.check_signatures(export, 3),
        lambda export: saved_model.serving("pixels", export).__enter__(),
    ):
        with pytest.raises(ValueError, match="'WriteFile'"):
            load(directory)
