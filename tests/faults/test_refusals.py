"""Images, teachers and settings that are refused, most of them before any work."""

import os
import shutil

import pytest
import tensorflow as tf

from classifier.inference import engine
from tests.faults import page
from tests.images import random_images, write_tfds


# --- sources -------------------------------------------------------------------
@page.holds("pattern that matches no file")
def test_no_file_matches(fault, place):
    place.refused(fault, images=f"tfrecord:{place.root}/*.tfrecord")


@page.holds("empty folder")
def test_empty_folder(fault, place):
    (place.root / "empty").mkdir()
    place.refused(fault, images=f"folder:{place.root}/empty")


@page.holds("file that is neither a folder nor of a known ending, in place of a source")
def test_a_single_image(fault, place):
    (place.root / "photo.jpg").touch()
    place.refused(fault, images=f"{place.root}/photo.jpg")


@page.holds("two file names with the same key")
def test_two_images_of_one_key(fault, place):
    for name in ("caf\udce9", r"caf\xe9"):
        (place.root / "in" / name).touch()
    place.refused(fault)


@page.holds("TFDS dataset that claims more records than its files can hold")
def test_absurd_number_of_records(fault, place):
    directory = place.root / "shapes" / "1.0.0"
    write_tfds(directory, {"image": random_images(3)}, [0, 1, 2])
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace('"3"', '"99999999999"'))
    place.refused(fault, images=f"tfds:{directory}:train")


@page.holds("TFDS dataset with a description of gigabytes")
def test_description_of_gigabytes(fault, place):
    directory = place.root / "shapes" / "1.0.0"
    write_tfds(directory, {"image": random_images(3)}, [0, 1, 2])
    os.truncate(directory / "features.json", 2**31)  # Sparse.
    with pytest.raises(SystemExit) as refusal:
        place.label(images=f"tfds:{directory}:train")
    fault.check(str(refusal.value.code))


@page.holds("file system whose client is not installed")
def test_file_system_without_its_client(fault, place, monkeypatch):
    def fail(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("beam_jobs.io.filesystems.importlib.import_module", fail)
    place.refused(fault, images="folder:s3://bucket/photos")


# --- teachers ------------------------------------------------------------------
@page.holds("teacher directory that does not exist")
def test_no_teacher(fault, place):
    place.refused(fault, place.root / "nothing")


@page.holds("teacher whose training is not complete")
def test_unfinished_teacher(fault, place):
    (place.teacher / "COMPLETED").unlink()
    place.refused(fault)


@page.holds("teacher without classifier.json")
def test_teacher_without_facts(fault, place):
    (place.teacher / "classifier.json").unlink()
    place.refused(fault)


@page.holds("teacher with a broken classifier.json")
def test_teacher_with_broken_facts(fault, place):
    path = place.teacher / "classifier.json"
    path.write_text(path.read_text()[:-9])
    place.refused(fault)


@page.holds("teacher without a SavedModel")
def test_teacher_without_network(fault, place):
    shutil.rmtree(place.teacher / "export")
    place.refused(fault)


@page.holds("teacher with a broken SavedModel")
def test_teacher_with_broken_network(fault, place):
    path = place.teacher / "export" / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:1000])
    place.refused(fault)


@page.holds("teacher without its weights")
def test_teacher_without_weights(fault, place):
    shutil.rmtree(place.teacher / "export" / "variables")
    place.refused(fault)


@page.holds("teacher with truncated weights")
def test_teacher_with_weights_cut_off(fault, place):
    (path,) = (place.teacher / "export" / "variables").glob("variables.data-*")
    path.write_bytes(path.read_bytes()[:1000])
    place.refused(fault)


@page.holds("teacher with the weights of another")
def test_teacher_with_the_weights_of_another(fault, place, exported_second):
    shutil.rmtree(place.teacher / "export")
    shutil.copytree(exported_second[0] / "export", place.teacher / "export")
    place.refused(fault)


@page.holds("class names in another order than the teacher's")
def test_teacher_with_other_names(fault, place):
    place.refused(fault, place.other_teacher(class_names=["b", "a", "c"]))


@page.holds("class name of millions of characters in classifier.json")
def test_teacher_with_a_long_name(fault, place):
    place.refused(fault, place.other_teacher(class_names=["a", "b" * 5_000_000, "c"]))


def save(directory, **signatures):
    shutil.rmtree(directory)
    module = tf.Module()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(directory), signatures=signatures)


def network_of(num_classes):
    @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.uint8)])
    def pixels(pixels):
        return {"logits": tf.zeros([tf.shape(pixels)[0], num_classes])}

    return pixels


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def preprocess(encoded):
    return {"pixels": tf.zeros([tf.shape(encoded)[0], 32, 32, 3], tf.uint8)}


@page.holds("SavedModel without the expected signatures")
def test_network_without_the_signature(fault, place):
    save(place.teacher / "export", serving_default=network_of(3))
    place.refused(fault)


@page.holds("SavedModel with another number of classes than classifier.json")
def test_network_of_other_classes(fault, place):
    save(place.teacher / "export", preprocess=preprocess, pixels=network_of(4))
    place.refused(fault)


@page.holds("two teachers with different classes")
def test_teachers_of_different_classes(fault, place):
    other = place.other_teacher(class_names=["a", "b"])
    place.refused(fault, place.teacher, other)


# --- what is asked -------------------------------------------------------------
@page.holds("engine that is not installed")
def test_engine_that_is_not_installed(fault, place, monkeypatch):
    monkeypatch.setattr(engine, "has_openvino", lambda: False)
    place.refused(fault, engine="openvino")


@page.holds("neither a teacher nor a model handler")
def test_nothing_to_label_with(fault, place):
    place.refused(fault, model_handler=None)


HANDLERS = {
    "model handler in a module that does not exist": "no_such_module:Handler",
    "model handler that its module does not define": "beam_jobs.runners.run:Handler",
    "model handler that is not a Beam ModelHandler": "collections:OrderedDict",
    "model handler whose construction fails": f"{__name__}:fail",
    "model handler in a module with a syntax error": "broken_module:Handler",
}


def fail():
    raise RuntimeError("no license for this model")


@page.holds(*HANDLERS)
def test_model_handler_that_is_none(fault, place, monkeypatch):
    (place.root / "modules").mkdir()
    (place.root / "modules" / "broken_module.py").write_text("def Handler(:\n")
    monkeypatch.syspath_prepend(str(place.root / "modules"))
    place.refused(fault, **{**place.model, "model_handler": HANDLERS[fault.name]})


@page.holds("file of class names that does not exist")
def test_no_class_names(fault, place):
    (place.root / "names.txt").unlink()
    place.refused(fault, **place.model)


@page.holds("file of class names that is not UTF-8")
def test_class_names_that_are_not_utf8(fault, place):
    (place.root / "names.txt").write_bytes(b"caf\xe9\ntea\n")
    place.refused(fault, **place.model)
