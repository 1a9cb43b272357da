"""Damaged weights of a classifier, and an export that cannot be written."""

import zipfile

import keras
import pytest

from classifier.export import saved_classifier
from classifier.export.facts import Evaluation
from classifier.training import initial_weights, presets
from stage import artifact
from tests.commands import call
from tests.faults import endings, page
from tests.json_files import read_json

COMPRESSED = (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def compress(path, method):
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)


def damaged(path):
    """Yields the bytes of `.keras` files that cannot be read."""
    content = path.read_bytes()
    yield from (b"", content[:1000], b"x" * 1000)
    for offset, value in ((6, 1), (8, 99)):  # Encrypted; compressed in no known way.
        changed = bytearray(content)
        for signature, start in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
            place = content.find(signature)
            while place >= 0:
                changed[place + start + offset] = value
                place = content.find(signature, place + 1)
        yield bytes(changed)
    for method in COMPRESSED:
        path.write_bytes(content)
        compress(path, method)
        with zipfile.ZipFile(path) as file:
            member = file.getinfo("model.weights.h5")
        changed = bytearray(path.read_bytes())
        start = member.header_offset + 30 + len(member.filename)
        changed[start + 9 : start + 500] = bytes(491)
        yield bytes(changed)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as file:
        weights = bytearray(file.read("model.weights.h5"))
    weights[100 : len(weights) : 7] = b"\xff" * len(range(100, len(weights), 7))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model.weights.h5", bytes(weights))
    yield path.read_bytes()


@page.holds("damaged model.keras")
def test_damaged_weights(fault, place):
    assert fault.end == endings.REFUSED
    path = place.teacher / "model.keras"
    for content in damaged(path):
        path.write_bytes(content)
        with pytest.raises(ValueError) as error:
            initial_weights.open_for(presets.tiny(), str(place.teacher), fixed=())
        fault.check(str(error.value))
        assert "\n" not in str(error.value)


@page.holds("model.keras of another classifier")
def test_weights_of_another(fault, place, exported):
    assert fault.end == endings.REFUSED
    model = exported[1]
    path = place.teacher / "model.keras"
    other = keras.models.clone_model(model)
    other.set_weights([array + 1 for array in model.get_weights()])
    other.save(path)
    with pytest.raises(ValueError) as error:
        saved_classifier.rebuild_network(place.teacher)
    fault.check(str(error.value))


@page.holds("damaged model.keras of what is exported")
def test_damaged_weights_are_not_exported(fault, place):
    assert fault.end == endings.FAILED
    path = place.teacher / "model.keras"
    compress(path, zipfile.ZIP_LZMA)
    *_, content, _ = damaged(path)
    path.write_bytes(content)
    output = place.root / "made.keras"
    ended = call(
        "classifier.export_model",
        *(f"--classifier={place.teacher}", f"--output={output}"),
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    fault.check(ended.stderr)
    assert not output.exists()


@page.holds("config.json of a network that cannot be")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("width_multiplier", 1e9), ("width_multiplier", "1"), ("resnet_d", "x")),
        *(("name", "resnet_rs_-50"), ("batch_norm_groups", 1.5), ("se_ratio", None)),
    ],
)
def test_a_network_that_cannot_be(fault, place, name, value):
    path = place.teacher / "config.json"
    content = read_json(path)
    content["config"]["model"][name] = value
    artifact.write_json(path, content)
    with pytest.raises(ValueError) as error:
        saved_classifier.rebuild_network(place.teacher)
    assert name in str(error.value) or str(value) in str(error.value)
    fault.check(str(error.value))


@page.holds("file in place of the directory `export`")
def test_an_export_that_cannot_be_written(fault, exported, config, tmp_path):
    assert fault.end == endings.FAILED_RESUMABLE
    (tmp_path / "export").touch()
    evaluation = Evaluation(num_examples=8, num_correct=6, cross_entropy=0.25)
    with pytest.raises(OSError) as error:
        saved_classifier.export_classifier(
            exported[1],
            tmp_path,
            image=config.image,
            class_names=("a", "b", "c"),
            evaluation=evaluation,
        )
    fault.check(str(error.value))
    assert str(tmp_path) in str(error.value)
