"""The head as a file: with embeddings it gives what the network gives."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import tensorflow as tf

from classifier.export.facts import CLASSIFIER, read_facts
from classifier.export.head import HEAD, Head, read_head, write_head
from classifier.models.factory import build_network
from stage import artifact
from tests.classifier.features.probes import make_head
from tests.conftest import export
from tests.json_files import read_json


def test_it_gives_the_networks_logits(exported):
    directory, _ = exported
    head = read_head(directory, read_facts(directory))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    network = tf.saved_model.load(str(directory / "export")).signatures["pixels"]
    outputs = network(pixels=tf.constant(pixels))
    found = head.logits(outputs["embedding"].numpy())
    np.testing.assert_allclose(found, outputs["logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
def test_it_is_read_as_written(tmp_path, exported, normalize):
    facts, head = read_facts(exported[0]), make_head(5, normalize=normalize)
    written = dataclasses.replace(facts, head=write_head(tmp_path, head))
    found = read_head(tmp_path, written)
    assert found.normalize == normalize
    np.testing.assert_array_equal(found.kernel, head.kernel)
    np.testing.assert_array_equal(found.bias, head.bias)
    # Any program that reads safetensors reads it.
    with safetensors.safe_open(tmp_path / HEAD, "np") as file:
        assert set(file.keys()) == {"kernel", "bias"}
        assert json.loads(file.metadata()["normalize"]) is normalize


def test_normalized_embeddings_have_length_one():
    embeddings = np.array([[3, 4], [0, 0], [1e-3, 0]], np.float32)
    head = Head(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), True)
    expected = [[0.6, 0.8], [0, 0], [1, 0]]
    np.testing.assert_allclose(head.logits(embeddings), expected, atol=1e-7)


@pytest.mark.parametrize(
    ("kernel", "bias"),
    [
        (np.zeros((2, 3), np.float32), np.zeros(2, np.float32)),
        (np.zeros(3, np.float32), np.zeros(3, np.float32)),
        (np.zeros((2, 3)), np.zeros(3)),
        (np.full((2, 3), np.nan, np.float32), np.zeros(3, np.float32)),
    ],
)
def test_nonsense_is_refused(kernel, bias):
    with pytest.raises(ValueError, match="expected a"):
        Head(kernel, bias)


def test_a_head_of_another_classifier_is_refused(tmp_path, exported):
    facts = read_facts(exported[0])
    write_head(tmp_path, make_head(5))
    with pytest.raises(ValueError, match="not the head of this classifier"):
        read_head(tmp_path, facts)
    with pytest.raises(ValueError, match="found none"):
        read_head(tmp_path / "none", facts)
    four = dataclasses.replace(facts, class_names=("a", "b", "c", "d"))
    with pytest.raises(ValueError, match="4 classes"):
        read_head(exported[0], four)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 9, (2).to_bytes(8, "little") + b"{}"]
)
def test_a_broken_file_is_one_line(tmp_path, exported, content):
    (tmp_path / HEAD).write_bytes(content)
    facts = read_facts(exported[0])
    facts = dataclasses.replace(facts, head=artifact.fingerprint([content]))
    with pytest.raises(ValueError, match="cannot be read") as caught:
        read_head(tmp_path, facts)
    assert "\n" not in str(caught.value)


def test_features_are_those_without_the_head(tmp_path, exported, config):
    directory, model = exported
    features = read_facts(directory).features
    assert features == read_json(directory / CLASSIFIER)["features"]
    again, copied = export(tmp_path / "again", config, seed=5, class_names=("a", "b"))
    assert read_facts(again).features != features
    for mine, theirs in zip(copied.weights[:-2], model.weights[:-2], strict=True):
        mine.assign(theirs)
    assert _features(tmp_path / "same", config, copied) == features
    image = dataclasses.replace(config.image, random_flip=not config.image.random_flip)
    flipped = dataclasses.replace(config, image=image)
    assert _features(tmp_path / "flipped", flipped, copied) == features
    image = dataclasses.replace(config.image, crop_fraction=0.5)
    cropped = dataclasses.replace(config, image=image)
    assert _features(tmp_path / "cropped", cropped, copied) != features


def test_features_depend_on_the_scaling_of_pixels(config):
    from classifier.models.embedding import embedding_content

    model = build_network(config.model, image_size=32, num_classes=3)
    before = list(embedding_content(model))
    model.get_layer("intensities").scale = 1 / 127
    after = list(embedding_content(model))
    assert before[0] != after[0]
    assert before[1:] == after[1:]


def _features(directory, config, model):
    from classifier.export.facts import Evaluation
    from classifier.export.saved_classifier import export_classifier

    directory.mkdir()
    export_classifier(
        model,
        directory,
        image=config.image,
        class_names=("a", "b"),
        evaluation=Evaluation(num_examples=1, num_correct=1, cross_entropy=0.0),
    )
    return read_facts(directory).features


def test_it_needs_no_framework():
    code = (
        "import sys, classifier.export.head; "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
