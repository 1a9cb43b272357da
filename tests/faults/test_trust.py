"""Datasets, classifiers and names of somebody else: read, never run."""

import json
import sys

import pytest

from tests.faults import page
from tests.images import random_images, write_tfds

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


@page.holds("TFDS dataset whose features name a class of its own")
def test_feature_of_its_own(fault, place, dataset, planted):
    _edit(
        dataset / "features.json",
        lambda content: content["featuresDict"]["features"].update(id=_PLANTED),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")
    place.refused(fault, images=f"tfds:{dataset}:train[1:]")


@page.holds("such a feature in other features")
def test_nested_feature_of_its_own(fault, place, dataset, planted):
    _edit(
        dataset / "features.json",
        lambda content: content["featuresDict"]["features"].update(more=_nest()),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")


@page.holds("such a feature, as earlier TFDS wrote it")
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


@page.holds("such a feature in dataset_info.json")
def test_features_of_the_description(fault, place, dataset, planted):
    _edit(
        dataset / "dataset_info.json",
        lambda content: content.update(features=_PLANTED, moduleName="planted"),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")


@page.holds("TFDS dataset whose files are elsewhere")
@pytest.mark.parametrize("template", ["/etc/{SHARD_INDEX}", "../etc/{SHARD_INDEX}"])
def test_files_elsewhere(fault, place, dataset, template):
    _edit(
        dataset / "dataset_info.json",
        lambda content: content["splits"][0].update(filepathTemplate=template),
    )
    place.refused(fault, images=f"tfds:{dataset}:train")


@page.holds("TFDS dataset of a namespace")
def test_namespace(fault, place):
    place.refused(fault, images="tfds:huggingface:mnist/mnist:train")
