"""Probes of embeddings that a labeling job has stored."""

import numpy as np
import pytest

from classifier.data import inspection
from classifier.data.sources import open_source
from classifier.export.facts import read_facts
from classifier.export.head import read_head
from classifier.features.opening import open_features
from classifier.inference.ensemble import Classifier
from classifier.probing import embeddings as probing_embeddings
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection.precision import read_calibration
from stage import artifact, licenses
from tests.commands import call
from tests.images import colored_images, write_folder
from tests.json_files import read_json


def succeed(*command):
    process = call(*command)
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def stored(tmp_path_factory, exported):
    """A directory of labeled images, a part and others of them, and predictions."""
    root = tmp_path_factory.mktemp("stored")
    images, labels = colored_images(36, 0)
    write_folder(root / "all", images, labels)
    write_folder(root / "part", images[:24], labels[:24])
    write_folder(root / "rest", images[24:], labels[24:])
    write_folder(root / "test", *colored_images(12, 1))
    succeed(
        "beam_jobs.label_images",
        f"--images=folder:{root}/all",
        f"--teacher={exported[0]}",
        "--embeddings",
        f"--output={root}/predictions",
        *("--engine=tensorflow", "--dtype=float32", "--", "--direct_num_workers=1"),
    )
    return root


@pytest.fixture(scope="module")
def head_alone(stored):
    """A probe of the labeled part, without a network; and what was printed."""
    output = succeed(
        "teacher.probe",
        f"--features=predictions:{stored}/predictions",
        f"--labeled=folder:{stored}/part",
        f"--evaluation=folder:{stored}/rest",
        f"--workdir={stored}/head",
    )
    return stored / "head", output


def embed(root, teacher):
    source = inspection.inspect(open_source(f"folder:{root}"), for_training=True)
    return probing_embeddings.embed(source, open_features(str(teacher)).load())


def test_labeled_images_are_found_by_their_bytes(stored, head_alone, exported):
    directory, output = head_alone
    assert "24 labeled images" in output
    facts = read_facts(directory)
    assert facts.features == open_predictions(f"{stored}/predictions").features
    found = embed(stored / "rest", exported[0])
    right = read_head(directory, facts).logits(found.embeddings).argmax(axis=1)
    assert f"{(right == found.labels).sum()} of 12 images" in output
    assert len(read_calibration(directory / "calibration").label) == 24
    names = {origin.name for origin in licenses.read(directory)}
    assert f"folder:{stored}/part".rpartition("/")[2] in " ".join(names)


def test_it_is_what_the_network_gives(stored, head_alone, exported):
    """Up to the rounding of stored embeddings."""
    output = succeed(
        "teacher.probe",
        f"--features={exported[0]}",
        f"--labeled=folder:{stored}/part",
        f"--evaluation=folder:{stored}/rest",
        f"--workdir={stored}/network",
    )
    assert "24 labeled images" in output
    found = embed(stored / "all", exported[0])
    logits = [
        read_head(place, read_facts(place)).logits(found.embeddings)
        for place in (head_alone[0], stored / "network")
    ]
    np.testing.assert_allclose(logits[0], logits[1], atol=0.1)


def test_a_head_alone_relabels_and_does_nothing_else(stored, head_alone, tmp_path):
    directory, _ = head_alone
    succeed(
        "beam_jobs.relabel",
        f"--predictions={stored}/predictions",
        f"--teacher={directory}",
        f"--calibration={directory}/calibration",
        f"--output={tmp_path}/relabeled",
    )
    (fingerprint,) = open_predictions(f"{tmp_path}/relabeled").teachers
    assert fingerprint == read_facts(directory).fingerprint
    evaluation = f"--evaluation=folder:{stored}/test"
    for command in (
        ("teacher.evaluate", f"--teacher={directory}", evaluation),
        ("classifier.export_model", f"--classifier={directory}"),
        ("teacher.train", f"--init_from={directory}", evaluation),
        ("teacher.probe", f"--features={directory}", evaluation),
    ):
        labeled = f"--labeled=folder:{stored}/part"
        needs_images = command[0] in ("teacher.train", "teacher.probe")
        place = "workdir" if needs_images else "output"
        process = call(
            *command, *([labeled] if needs_images else []), f"--{place}={tmp_path}/new"
        )
        assert process.returncode == 1
        assert "--backbone" in process.stderr
        assert not (tmp_path / "new").exists()


def test_a_backbone_makes_it_a_classifier(stored, exported, tmp_path):
    """Labels are those in the predictions."""
    command = (
        "teacher.probe",
        f"--features=predictions:{stored}/predictions",
        f"--evaluation=folder:{stored}/test",
        f"--workdir={tmp_path}/probe",
    )
    output = succeed(*command, f"--backbone={exported[0]}")
    assert "36 labeled images" in output
    network = Classifier(tmp_path / "probe", embeddings=True)
    found = embed(stored / "test", exported[0])
    head = read_head(tmp_path / "probe", read_facts(tmp_path / "probe"))
    right = head.logits(found.embeddings).argmax(axis=1) == found.labels
    assert f"{right.sum()} of 12 images" in output
    source = open_source(f"folder:{stored}/test")
    images = [
        example.image
        for file in source.files
        for example in source.reader.examples(file)
    ]
    logits = network.logits(network.preprocess(images))
    np.testing.assert_allclose(logits, head.logits(found.embeddings), atol=1e-3)
    config = read_json(tmp_path / "probe" / artifact.CONFIG)
    images = read_json(stored / "predictions" / artifact.CONFIG)["images"]
    assert config["labeled"] == images


def test_what_does_not_fit_is_refused(stored, exported_second, tmp_path):
    def refuse(*flags):
        process = call("teacher.probe", *flags, f"--workdir={tmp_path}/probe")
        assert process.returncode == 1
        assert not (tmp_path / "probe").exists()
        return process.stderr

    features = f"--features=predictions:{stored}/predictions"
    evaluation = f"--evaluation=folder:{stored}/test"
    # Not among the predictions.
    labeled = f"--labeled=folder:{stored}/test"
    assert "12 of 12 images" in refuse(features, labeled)
    assert "other features" in refuse(
        features, evaluation, f"--backbone={exported_second[0]}"
    )
    assert "--evaluation" in refuse(features, f"--backbone={exported_second[0]}")
    assert "--backbone" in refuse(features, "--set=image.size=40")
    assert "--class_embeddings" in refuse(features, "--class_embeddings=names.npy")
    assert "--license" in refuse(features, "--license=features=MIT")
