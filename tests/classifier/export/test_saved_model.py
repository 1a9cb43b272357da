import gc
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from classifier.export import saved_model
from classifier.inference.engine import REFERENCE, NetworkLoader
from tests.images import random_images


@pytest.fixture(scope="module")
def export(exported):
    return exported[0] / "export"


def test_preprocess_alone_is_that_of_the_whole(export):
    images = tf.constant(random_images(5))
    whole = tf.saved_model.load(str(export)).signatures["preprocess"]
    alone = saved_model.load_preprocess(export)
    np.testing.assert_array_equal(alone(images), whole(encoded=images)["pixels"])


def test_another_signature_is_served_with_the_same_variables(export):
    signatures = _signatures(export)
    assert signatures["serving_default"] != signatures["pixels"]
    with saved_model.serving("pixels", export) as directory:
        assert _signatures(directory)["serving_default"] == signatures["pixels"]
        (index,) = pathlib.Path(directory).glob("variables/*.index")
        assert index.samefile(export / "variables" / index.name)


def test_a_network_outlives_its_loader(export):
    network = NetworkLoader(export).load(REFERENCE, batch_size=2, threads=1)
    gc.collect()
    assert network(np.zeros([2, *_image_shape(export)], np.uint8)).shape[0] == 2


def _signatures(directory):
    content = (pathlib.Path(directory) / "saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(content)
    return saved.meta_graphs[0].signature_def


def _image_shape(export):
    signatures = tf.saved_model.load(str(export)).signatures
    return signatures["preprocess"].structured_outputs["pixels"].shape[1:]
