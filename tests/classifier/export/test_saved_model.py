"""Reading a SavedModel in parts, and refusing what is no classifier."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from tensorflow.core.protobuf import saved_model_pb2

from classifier.export import saved_model
from classifier.export.saved_model import read_ensemble_facts
from tests.images import random_images


@pytest.fixture(scope="module")
def export(exported):
    return exported[0] / "export"


def test_what_a_killed_run_has_left_is_deleted(tmp_path):
    path = epath.Path(tmp_path) / "export"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb.tmp12").write_bytes(b"half")
    with saved_model.writing(path):
        tf.saved_model.save(tf.Module(), str(path))
    assert not (path / "saved_model.pb.tmp12").exists()
    assert (path / "saved_model.pb").exists()
    with (
        pytest.raises(OSError, match=r"^cannot write .*export: no space$"),
        saved_model.writing(path),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, "no space")


def test_preprocess_alone_is_that_of_the_whole(export):
    images = tf.constant(random_images(5))
    whole = tf.saved_model.load(str(export)).signatures["preprocess"]
    alone = saved_model.load_preprocess(export)
    np.testing.assert_array_equal(alone(images), whole(encoded=images)["pixels"])


def test_another_signature_is_served_with_the_same_variables(export):
    signatures = _signatures(export)
    assert signatures["serving_default"] != signatures["pixels"]
    with saved_model.serving("pixels", export, ("logits", "embedding")) as directory:
        assert _signatures(directory)["serving_default"] == signatures["pixels"]
    with saved_model.serving("pixels", export) as directory:
        served = _signatures(directory)["serving_default"]
        assert served.inputs == signatures["pixels"].inputs
        assert list(served.outputs) == ["logits"]
        (index,) = pathlib.Path(directory).glob("variables/*.index")
        assert index.samefile(export / "variables" / index.name)


def test_classifiers_of_an_ensemble_are_complete_and_have_the_same_classes(
    exported, exported_second, tmp_path
):
    facts = read_ensemble_facts([exported[0], exported_second[0]])
    assert [fact.image.size for fact in facts] == [32, 40]
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "none")):
        read_ensemble_facts([tmp_path / "none"])
    with pytest.raises(ValueError, match="COMPLETED"):
        read_ensemble_facts([tmp_path])
    (tmp_path / "COMPLETED").write_text("{}")
    with pytest.raises(ValueError, match=r"classifier\.json"):
        read_ensemble_facts([tmp_path])
    other = shutil.copytree(exported[0], tmp_path / "other")
    changed = json.loads((other / "classifier.json").read_text())
    changed["class_names"][2] = "x"
    (other / "classifier.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=r"\b2\b.*'c'.*'x'"):
        read_ensemble_facts([exported[0], other])


def test_what_is_no_classifier_is_refused(export, tmp_path):
    saved_model.check_signatures(export, 3)
    with pytest.raises(ValueError, match=r"logits .*\b4\b.*\b3$"):
        saved_model.check_signatures(export, 4)
    with pytest.raises(ValueError, match=str(tmp_path / "none")):
        saved_model.check_signatures(tmp_path / "none", 3)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match=str(broken)):
        saved_model.check_signatures(broken, 3)
    (broken / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=str(broken)):
        saved_model.check_signatures(broken, 3)
    shutil.copy(export / "saved_model.pb", broken)
    with pytest.raises(ValueError, match=r"variables\.index"):
        saved_model.check_signatures(broken, 3)


def test_signatures_of_another_saved_model_are_refused(tmp_path):
    module = tf.Module()
    module.scale = tf.Variable(2.0)
    specification = tf.TensorSpec([], tf.float32)
    double = tf.function(lambda x: x * module.scale, input_signature=[specification])
    tf.saved_model.save(module, str(tmp_path), signatures={"double": double})
    with pytest.raises(ValueError, match=r"'preprocess'.*'pixels'.*double"):
        saved_model.check_signatures(tmp_path, 3)


def _signatures(directory):
    content = (pathlib.Path(directory) / "saved_model.pb").read_bytes()
    saved = saved_model_pb2.SavedModel.FromString(content)
    return saved.meta_graphs[0].signature_def
