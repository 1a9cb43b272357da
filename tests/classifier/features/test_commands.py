"""Commands with classifiers whose network is an ONNX file or somebody's SavedModel."""

import json

import numpy as np
import onnxruntime
import pytest

from classifier.features.opening import open_features
from classifier.inference.ensemble import Classifier
from tests.classifier.features import saved_models
from tests.classifier.features.probes import export
from tests.commands import call
from tests.images import random_images, write_folder
from tests.json_files import read_json


@pytest.fixture(scope="module")
def exported_saved(tmp_path_factory):
    """Directory of a classifier that was traced from a SavedModel."""
    root = tmp_path_factory.mktemp("classifier")
    source = open_features(saved_models.write(root / "theirs"))
    return export(source, root / "ours")


@pytest.fixture(params=["onnx", "saved_model"])
def teacher(request, exported_onnx, exported_saved):
    return exported_onnx if request.param == "onnx" else exported_saved


@pytest.fixture
def labeled(tmp_path):
    write_folder(tmp_path / "labeled", random_images(6), [0, 1, 2] * 2)
    return f"folder:{tmp_path}/labeled"


def run(*command):
    process = call(*command)
    assert process.returncode == 0, process.stderr
    return process.stdout


def expected_labels(teacher):
    classifier = Classifier(teacher)
    return classifier.logits(classifier.preprocess(random_images(6))).argmax(axis=1)


def test_it_is_evaluated_alone_and_in_an_ensemble(
    teacher, exported, exported_onnx, labeled, tmp_path
):
    right = (expected_labels(teacher) == [0, 1, 2] * 2).sum()
    command = ("teacher.evaluate", f"--evaluation={labeled}")
    run(*command, f"--teacher={teacher}", f"--output={tmp_path}/alone")
    assert read_json(tmp_path / "alone" / "evaluation.json")["num_correct"] == right
    members = [f"--teacher={path}" for path in (teacher, exported[0], exported_onnx)]
    run(*command, *members, f"--output={tmp_path}/all")
    assert read_json(tmp_path / "all" / "evaluation.json")["num_examples"] == 6


def test_it_is_calibrated(teacher, labeled, tmp_path):
    output = f"--output={tmp_path}/calibration"
    run("teacher.calibrate", f"--teacher={teacher}", f"--held_out={labeled}", output)
    assert read_json(tmp_path / "calibration" / "calibration.json")["num_images"] == 6


def test_it_predicts(teacher, labeled, tmp_path):
    paths = sorted((tmp_path / "labeled").rglob("*.*"))
    out = run(
        "classifier.predict",
        f"--classifier={teacher}",
        "--format=json",
        *map(str, paths),
    )
    found = {
        line["file"]: line["top"][0]["label"]
        for line in map(json.loads, out.splitlines())
    }
    classifier = Classifier(teacher)
    for path in paths:
        logits = classifier.logits(classifier.preprocess([path.read_bytes()]))
        assert found[str(path)] == logits[0].argmax()


def test_a_student_is_evaluated_beside_it(teacher, exported, labeled, tmp_path):
    run(
        "student.evaluate",
        f"--student={exported[0]}",
        f"--teacher={teacher}",
        f"--evaluation={labeled}",
        f"--output={tmp_path}/evaluation",
    )
    figures = read_json(tmp_path / "evaluation" / "evaluation.json")
    right = (expected_labels(teacher) == [0, 1, 2] * 2).mean()
    assert figures["teacher"]["top1"] == pytest.approx(right)


def test_it_is_exported_to_onnx(teacher, tmp_path):
    output = tmp_path / "network.onnx"
    export = ("classifier.export_model", f"--classifier={teacher}")
    assert "same top class" in run(*export, f"--output={output}")
    classifier = Classifier(teacher)
    pixels = classifier.preprocess(random_images(6))
    logits = onnxruntime.InferenceSession(output).run(["logits"], {"pixels": pixels})[0]
    np.testing.assert_allclose(logits, classifier.logits(pixels), rtol=1e-3, atol=1e-3)
    process = call(*export, f"--output={tmp_path}/network.keras")
    assert process.returncode == 1
    assert "cannot be written as .keras" in process.stderr


def test_no_training_begins_with_it(teacher, labeled, tmp_path):
    process = call(
        "teacher.train",
        f"--labeled={labeled}",
        f"--evaluation={labeled}",
        f"--workdir={tmp_path}/teacher",
        f"--init_from={teacher}",
    )
    assert process.returncode == 1
    assert "expected a network that this project builds" in process.stderr
