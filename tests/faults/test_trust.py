"""Datasets, classifiers and names of somebody else: read, never run."""

import json
import shutil
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from classifier.inference import conversion
from tests.commands import call
from tests.conftest import rename_classes
from tests.faults import job, page
from tests.images import random_images, write_folder, write_tfds

# --- datasets of TFDS ----------------------------------------------------------
_OWN = "tensorflow_datasets.core.features."
_PLANTED = {"pythonClassName": "planted.Feature", "jsonFeature": {"json": "{}"}}


@pytest.fixture
def dataset(tmp_path):
    return write_tfds(tmp_path / "in" / "1.0.0", {"image": random_images(3)}, [0, 1, 2])


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A module that writes a file when it is imported; returns the file's path."""
    marker = tmp_path / "imported"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "planted.py").write_text(f"open({str(marker)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield marker
    assert not marker.exists()
    assert "planted" not in sys.modules


def _edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _nest():
    """Returns a feature of TFDS that holds the planted one two levels deep."""
    sequence = {"pythonClassName": f"{_OWN}sequence_feature.Sequence"}
    inner = {**sequence, "sequence": {"feature": _PLANTED, "length": "-1"}}
    return {**sequence, "sequence": {"feature": inner, "length": "-1"}}


@page.holds("foreign Python class in a TFDS dataset's features.json")
def test_feature_of_its_own(fault, place, dataset, planted):
    _edit(
        dataset / "features.json",
        lambda content: content["featuresDict"]["features"].update(id=_PLANTED),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")
    place.refused(fault, images=f"tfds:{dataset}:train[1:]")


@page.holds("foreign Python class in a nested feature")
def test_nested_feature_of_its_own(fault, place, dataset, planted):
    _edit(
        dataset / "features.json",
        lambda content: content["featuresDict"]["features"].update(more=_nest()),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")


@page.holds("foreign Python class in the features.json of an older TFDS")
def test_former_form_of_features(fault, place, dataset, planted):
    feature = {"type": "planted.Feature", "content": {}}
    sequence = {
        "type": f"{_OWN}sequence_feature.Sequence",
        "content": {"feature": feature, "length": None},
    }
    features = {
        "type": f"{_OWN}features_dict.FeaturesDict",
        "content": {"image": sequence},
    }
    (dataset / "features.json").write_text(json.dumps(features))
    place.refused(fault, images=f"tfds:{dataset}:train")


@page.holds("foreign Python class in dataset_info.json")
def test_features_of_the_description(fault, place, dataset, planted):
    _edit(
        dataset / "dataset_info.json",
        lambda content: content.update(features=_PLANTED, moduleName="planted"),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")


@page.holds("TFDS dataset with files outside its directory")
@pytest.mark.parametrize("template", ["/etc/{SHARD_INDEX}", "../etc/{SHARD_INDEX}"])
def test_files_elsewhere(fault, place, dataset, template):
    _edit(
        dataset / "dataset_info.json",
        lambda content: content["splits"][0].update(filepathTemplate=template),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")


@page.holds("TFDS dataset with a namespace")
def test_namespace(fault, place):
    place.refused(fault, images="tfds:huggingface:mnist/mnist:train")


# --- classifiers ---------------------------------------------------------------
def _change_graph(teacher, change):
    path = teacher / "export" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(saved.meta_graphs[0].graph_def)
    path.write_bytes(saved.SerializeToString())


def _plant(teacher, operation):
    """Saves signatures that run an operation whenever they decode images."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def preprocess(encoded):
        operation()
        return {"pixels": tf.zeros([tf.shape(encoded)[0], 32, 32, 3], tf.uint8)}

    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.uint8)])
    def pixels(pixels):
        return {"logits": tf.zeros([tf.shape(pixels)[0], 3])}

    module = tf.Module()
    module.functions = [preprocess, pixels]
    signatures = {"preprocess": preprocess, "pixels": pixels}
    shutil.rmtree(teacher / "export")
    tf.saved_model.save(module, str(teacher / "export"), signatures=signatures)


@page.holds("classifier whose graph writes a file")
def test_graph_that_writes_a_file(fault, place):
    written = place.root / "written"
    _plant(place.teacher, lambda: tf.io.write_file(str(written), "x"))
    place.refused(fault)
    place.refused(fault, engine="openvino")
    place.refused(fault, engine="auto", dtype="auto")
    images = place.images.removeprefix("folder:")
    write_folder(place.root / "labeled", random_images(3), [0, 1, 2])
    labeled = f"folder:{place.root}/labeled"
    classifier, output = f"--classifier={place.teacher}", f"--output={place.root}/made"
    teacher = (f"--teacher={place.teacher}", output)
    for module, *flags in (
        ("classifier.predict", classifier, f"{images}/00000.png"),
        ("classifier.export_model", classifier, f"{output}/"),
        ("classifier.export_model", classifier, f"{output}.keras"),
        ("classifier.export_model", classifier, f"{output}.onnx"),
        ("teacher.evaluate", *teacher, f"--evaluation={labeled}"),
        ("teacher.calibrate", *teacher, f"--held_out={labeled}"),
        (
            "student.evaluate",
            f"--student={place.teacher}",
            output,
            f"--evaluation={labeled}",
        ),
    ):
        ended = call(module, *flags)
        assert ended.returncode == 1, module
        fault.check(ended.stderr)
        assert ended.stderr.count("\n") == 1
    assert not written.exists()
    assert not (place.root / "made").exists()


@page.holds("classifier whose graph reads a file")
def test_graph_that_reads_a_file(fault, place):
    _plant(place.teacher, lambda: tf.io.read_file("/etc/passwd"))
    place.refused(fault)


@page.holds("classifier whose graph calls Python")
def test_graph_that_calls_python(fault, place):
    _plant(place.teacher, lambda: tf.py_function(lambda: 0, [], tf.int32))
    place.refused(fault)


@page.holds("classifier whose graph calls the function that saves its weights")
def test_graph_that_saves_its_weights(fault, place):
    def call_the_saver(graph):
        functions = {f.signature.name: f for f in graph.library.function}
        (saver,) = (name for name in functions if "traced_save" in name)
        caller = next(f for name, f in functions.items() if "wrapper" in name)
        call = caller.node_def.add(name="call", op="StatefulPartitionedCall")
        call.attr["f"].func.name = saver

    _change_graph(place.teacher, call_the_saver)
    place.refused(fault)


@page.holds("foreign file in a classifier's SavedModel")
def test_file_of_its_own(fault, place):
    (place.root / "secret").write_text("mine")
    for link in ("notes.txt", "assets/notes.txt", "variables/variables.txt"):
        (place.teacher / "export" / link).symlink_to(place.root / "secret")
    made = place.root / "made"
    arguments = (f"--classifier={place.teacher}", f"--output={made}")
    assert call("classifier.export_model", *arguments).returncode == 0
    assert (made / "saved_model.pb").exists()
    assert not list(made.rglob("*.txt"))


@page.holds("foreign layer in a classifier's model.keras")
@pytest.mark.parametrize(
    "layer",
    [
        {"module": "planted", "class_name": "Feature"},
        {"module": "keras.layers", "class_name": "TFSMLayer"},
        {"module": "keras.layers", "class_name": "Lambda"},
    ],
    ids=lambda layer: layer["class_name"],
)
def test_layers_of_its_own(fault, place, planted, layer):
    path, before = place.teacher / "model.keras", place.root / "before.keras"
    shutil.move(path, before)
    with zipfile.ZipFile(before) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = json.dumps({**layer, "config": {"filepath": "/etc"}}).encode()
            new.writestr(name, content)
    conversion.export(place.teacher, str(place.root / "made.keras"))
    place.label()
    statuses = {row["status"] for row in job.read_rows(place.output)}
    assert statuses == {fault.status}
    made, expected = map(keras.saving.load_model, (place.root / "made.keras", before))
    for one, other in zip(made.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


# --- names ---------------------------------------------------------------------
#: Title of the window, color, direction of writing, lines of three kinds.
COMMANDS = "\x1b]0;x\x07\x1b[31m\u202e\u2066\n\r\x9b2J\x85\u2028"


def _assert_inert(shown):
    assert shown
    assert all(char == "\n" or char.isprintable() for char in shown)


@page.holds("control characters in file and class names")
def test_control_characters_in_names(fault, place, exported):
    images = place.root / "in"
    name = f"{COMMANDS}.png"
    shutil.copy(images / "00000.png", images / name)
    place.label()
    rows = {row["key"]: row["status"] for row in job.read_rows(place.output)}
    assert rows[name] == fault.status
    rename_classes(place.teacher, exported[1], [COMMANDS, "b", "c"])
    (images / "broken\x1b[31m.png").write_text("no image")
    ended = call("classifier.predict", f"--classifier={place.teacher}", images)
    assert ended.stdout.count("\n") > 5, ended.stderr
    _assert_inert(ended.stdout)
    assert r"\x1b]0;x\x07\x1b[31m\u202e" in ended.stdout


@page.holds("control characters in an argument")
def test_control_characters_in_an_argument(fault, place):
    path = f"{place.root}/{COMMANDS}"
    for module, *flags in (
        ("beam_jobs.label_images", f"--images=folder:{path}", "--teacher=x"),
        ("beam_jobs.label_images", f"--images={COMMANDS}", f"--teacher={path}"),
        ("beam_jobs.select_labels", f"--predictions={path}"),
        ("classifier.predict", f"--classifier={path}", "x.png"),
        ("classifier.predict", f"--{COMMANDS}=1"),
        ("teacher.train", f"--labeled=folder:{path}", "--evaluation=x", "--workdir=y"),
        ("workflow.report", f"--run={path}"),
        ("pseudo_label.verify", path),
        ("pseudo_label.verify", path, path),
    ):
        ended = call(module, *flags, *(["--output=x"] if "beam" in module else []))
        assert ended.returncode == 1, module
        _assert_inert(ended.stderr)
        fault.check(ended.stderr)
