"""The command: a probe of each kind of network is a classifier like any other."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from classifier.data import python_reader
from classifier.data.sources import open_source
from classifier.export.facts import read_facts
from classifier.export.head import read_head
from classifier.export.saved_model import read_ensemble_facts
from classifier.features.opening import open_features
from classifier.inference.ensemble import Classifier
from pseudo_label.selection.precision import read_calibration
from stage import artifact, licenses
from stage.calibration_files import read_temperature
from tests.classifier.features import onnx_models
from tests.commands import call
from tests.held_tracker import hold_tracker
from tests.images import colored_images, write_folder, write_records
from tests.json_files import read_json


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Flags of thirty labeled images and of twelve others."""
    root = tmp_path_factory.mktemp("images")
    write_folder(root / "labeled", *colored_images(30, 0))
    write_folder(root / "test", *colored_images(12, 1))
    return f"--labeled=folder:{root}/labeled", f"--evaluation=folder:{root}/test"


@pytest.fixture(scope="module", params=["keras", "onnx"])
def probed(request, images, exported, exported_onnx, tmp_path_factory):
    """Source of features, directory of the probe, and what was printed."""
    features = {"keras": exported[0], "onnx": exported_onnx}[request.param]
    workdir = tmp_path_factory.mktemp("probes") / "probe"
    process = call(
        "teacher.probe", f"--features={features}", *images, f"--workdir={workdir}"
    )
    assert process.returncode == 0, process.stderr
    return features, workdir, process.stdout


def read_pixels(network, flag):
    source = open_source(flag.partition("=")[2])
    examples = list(python_reader.read_examples(source.reader, source.files))
    return network.preprocess([example.image for example in examples]), examples


def test_its_logits_are_those_of_the_head(probed, images):
    features, workdir, output = probed
    network = Classifier(workdir, embeddings=True)
    pixels, examples = read_pixels(network, images[1])
    logits, embeddings = network.outputs(pixels)
    head = read_head(workdir, read_facts(workdir))
    np.testing.assert_allclose(logits, head.logits(embeddings), rtol=1e-4, atol=1e-4)
    raw = open_features(str(features)).load()(pixels)
    np.testing.assert_allclose(logits, head.logits(raw), rtol=1e-3, atol=1e-3)
    right = int((logits.argmax(axis=1) == [e.label for e in examples]).sum())
    assert f"{right} of 12 images" in output
    assert right >= 9
    evaluation = read_json(workdir / "classifier.json")["evaluation"]
    assert (evaluation["num_examples"], evaluation["num_correct"]) == (12, right)


def test_it_says_which_test_images_it_learns_from(images, exported, tmp_path):
    process = call(
        "teacher.probe",
        f"--features={exported[0]}",
        images[0],
        images[0].replace("--labeled", "--evaluation"),
        f"--workdir={tmp_path}/probe",
    )
    assert process.returncode == 0, process.stderr
    assert "warning: 30 of 30 images" in process.stdout


def test_its_features_are_those_of_the_source(probed):
    features, workdir, _ = probed
    assert read_facts(workdir).features == read_facts(features).features
    assert open_features(str(workdir)).fingerprint == read_facts(workdir).features
    assert licenses.read(workdir) == licenses.merge(
        licenses.read(features),
        [origin for origin in licenses.read(workdir) if origin.kind == "images"],
    )


def test_its_own_calibration_is_of_images_not_seen(probed):
    _, workdir, output = probed
    (facts,) = read_ensemble_facts([workdir])
    calibration = workdir / "calibration"
    assert read_temperature(calibration, teachers=[facts.fingerprint]) == 1.0
    found = read_calibration(calibration)
    assert (found.kind, len(found.label)) == ("out_of_fold", 30)
    rows = pq.read_table(calibration / "calibration.parquet")
    assert set(rows["fold"].to_pylist()) == set(range(5))
    assert f"{found.is_right.mean():.2%} of 30 images out of fold right" in output


def test_it_is_made_once(probed, images):
    features, workdir, _ = probed
    command = ("teacher.probe", f"--features={features}", f"--workdir={workdir}")
    assert "already complete" in call(*command, *images).stdout
    process = call(*command, *images, "--seed=1")
    assert process.returncode == 1
    assert "seed" in process.stderr
    process = call(*command, *images, "--set=probe.folds=3", "--set=image.size=32")
    assert process.returncode == 1


def test_its_evaluation_is_sent_to_trackers(
    images, exported_onnx, tmp_path, monkeypatch
):
    held = hold_tracker(monkeypatch)
    process = call(
        *("teacher.probe", f"--features={exported_onnx}", *images),
        *(f"--workdir={tmp_path}/probe", "--log_to=mlflow:http://localhost:1"),
    )
    assert process.returncode == 0, process.stderr
    evaluation = read_json(tmp_path / "probe" / "classifier.json")["evaluation"]
    row = {
        "step": 0,
        "evaluation/top1": evaluation["top1"],
        "evaluation/cross_entropy": evaluation["cross_entropy"],
    }
    assert held.rows == {"run-0": [row]}
    assert held.ends == ["finished"]
    assert "log_to" not in (tmp_path / "probe" / "config.json").read_text()


def test_names_are_compared_without_labels(images, exported_onnx, tmp_path):
    rows = np.random.default_rng(0).normal(size=(3, onnx_models.FEATURES))
    np.save(tmp_path / "names.npy", rows)
    command = (
        "teacher.probe",
        f"--features={exported_onnx}",
        f"--class_embeddings={tmp_path}/names.npy",
        images[1],
    )
    process = call(*command, f"--workdir={tmp_path}/one")
    assert process.returncode == 0, process.stderr
    assert not (tmp_path / "one" / "calibration").exists()
    network = Classifier(tmp_path / "one", embeddings=True)
    logits, embeddings = network.outputs(read_pixels(network, images[1])[0])
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = embeddings @ rows.T / lengths / np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(logits, 100 * cosines, atol=2e-2)

    process = call(*command, images[0], f"--workdir={tmp_path}/two")
    assert process.returncode == 0, process.stderr
    assert read_calibration(tmp_path / "two" / "calibration").kind == "held_out"
    config = json.loads((tmp_path / "two" / artifact.CONFIG).read_text())
    assert "labeled" not in config


def test_layers_that_take_raw_features_compare_no_names(images, exported, tmp_path):
    process = call(
        "teacher.probe",
        f"--features={exported[0]}",
        f"--class_embeddings={tmp_path}/names.npy",
        *images,
        f"--workdir={tmp_path}/probe",
    )
    assert process.returncode == 1
    assert "ONNX" in process.stderr
    assert not (tmp_path / "probe").exists()


def test_what_cannot_be_learned_is_refused(images, exported_onnx, tmp_path):
    features = (f"--features={exported_onnx}", f"--workdir={tmp_path}/probe")
    process = call("teacher.probe", *features, images[1])
    assert process.returncode == 1
    assert "--labeled" in process.stderr

    written, _ = colored_images(3, 0)
    write_records(tmp_path / "labeled", written[:2], [0, 1])
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    names = f"--class_names={tmp_path}/names.txt"
    labeled = f"--labeled=tfrecord:{tmp_path}/labeled"
    process = call("teacher.probe", *features, labeled, images[1], names)
    assert process.returncode == 1
    assert "none of 'c'" in process.stderr

    write_folder(tmp_path / "one", written, [0] * 3)
    one = f"folder:{tmp_path}/one"
    process = call(
        "teacher.probe", *features, f"--labeled={one}", f"--evaluation={one}"
    )
    assert process.returncode == 1
    assert "two or more classes" in process.stderr

    broken = [*written[:2], written[2][:-50]]
    write_records(tmp_path / "labeled", broken, [0, 1, 2])
    process = call("teacher.probe", *features, labeled, images[1], names)
    assert process.returncode == 1
    assert "labeled#2" in process.stderr
    assert not (tmp_path / "probe").exists()


def test_one_label_of_each_class_is_enough(images, exported_onnx, tmp_path):
    write_folder(tmp_path / "labeled", *colored_images(3, 0))
    process = call(
        "teacher.probe",
        f"--features={exported_onnx}",
        f"--labeled=folder:{tmp_path}/labeled",
        images[1],
        f"--workdir={tmp_path}/probe",
    )
    assert process.returncode == 0, process.stderr
    assert "no class has two images" in process.stdout
    assert not (tmp_path / "probe" / "calibration").exists()
    assert read_facts(tmp_path / "probe").class_names == ("a", "b", "c")


def test_the_input_of_a_network_is_chosen_once(images, tmp_path):
    path = onnx_models.write(tmp_path / "network.onnx")
    command = (
        "teacher.probe",
        f"--features=onnx:{path}",
        *images,
        f"--workdir={tmp_path}/probe",
    )
    first = call(*command)
    assert first.returncode == 0, first.stderr
    assert f"input: {onnx_models.SIDE} px" in first.stdout
    chosen = read_json(tmp_path / "probe" / "config.json")["chosen_input"]
    image = read_facts(tmp_path / "probe").image
    assert chosen == {"size": image.size, "crop_fraction": image.crop_fraction}
    again = call(*command)
    assert "already complete" in again.stdout
    assert "input:" not in again.stdout
    assert call(*command, "--set=image.crop_fraction=0.5").returncode == 1


def test_what_changes_nothing_is_refused(images, exported_onnx, tmp_path):
    path = onnx_models.write(tmp_path / "network.onnx")
    names = f"--class_embeddings={tmp_path}/names.npy"
    both = ("--set=image.size=40", "--set=image.crop_fraction=1")
    limit = "--set=probe.max_input_images=9"
    for features, *flags in (
        (f"onnx:{path}", names, "--set=probe.folds=3"),
        (f"onnx:{path}", *both, limit),
        (exported_onnx, limit),
        ("predictions:nowhere", limit),
    ):
        process = call(
            "teacher.probe",
            f"--features={features}",
            *images,
            *flags,
            f"--workdir={tmp_path}/probe",
        )
        assert process.returncode == 1
        assert "has no effect" in process.stderr


def test_a_directory_of_others_is_refused_first(images, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("")
    process = call(
        "teacher.probe",
        "--features=onnx:nowhere.onnx",
        *images,
        f"--workdir={tmp_path}/theirs",
    )
    assert process.returncode == 1
    assert "not empty" in process.stderr


def test_a_calibration_of_a_killed_run_is_made_anew(probed, images):
    """As by another computer, whose head differs in the last bits."""
    features, workdir, _ = probed
    config = workdir / "calibration" / artifact.CONFIG
    before = read_json(config)
    artifact.write_json(config, {**before, "teachers": ["0" * 64]})
    (workdir / artifact.COMPLETED).unlink()
    process = call(
        "teacher.probe", f"--features={features}", *images, f"--workdir={workdir}"
    )
    assert process.returncode == 0, process.stderr
    assert read_json(config) == before
    assert artifact.is_complete(config.parent)
