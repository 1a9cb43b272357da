import json
import os

import pytest
import tensorflow_datasets as tfds

from stage.tfds_directory import find_builder, open_builder
from tests.images import random_images, write_tfds


@pytest.fixture
def dataset(tmp_path):
    return write_tfds(tmp_path / "in" / "1.0.0", {"image": random_images(3)}, [0, 1, 2])


def open_by_name(directory):
    return find_builder("in", str(directory.parent.parent))


by_any_name = pytest.mark.parametrize("open_it", [open_builder, open_by_name])


@by_any_name
def test_features_of_tfds_are_read(dataset, open_it):
    info = open_it(str(dataset) if open_it is open_builder else dataset).info
    assert info.splits["train"].num_examples == 3
    assert info.features["class"].names == ["a", "b", "c"]


@by_any_name
@pytest.mark.parametrize(
    "name",
    [
        "antigravity.Flight",
        "tensorflow_datasets.core.features.no_such.Feature",
        "tensorflow_datasets.core.features.feature_test.AnInputConnector",
        "Feature",
        "",
    ],
)
def test_no_other_class_is_looked_for(dataset, open_it, name):
    path = dataset / "features.json"
    content = json.loads(path.read_text())
    content["featuresDict"]["features"]["id"]["pythonClassName"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=repr(name)):
        open_it(str(dataset) if open_it is open_builder else dataset)


@by_any_name
@pytest.mark.parametrize("name", ["dataset_info.json", "class.labels.txt"])
def test_large_metadata_are_not_read(dataset, open_it, name):
    os.truncate(dataset / name, 2**31)
    with pytest.raises(ValueError, match=rf"{name}.*2,147,483,648"):
        open_it(str(dataset) if open_it is open_builder else dataset)


def test_a_message_is_one_line_whatever_the_metadata_hold(dataset):
    path = dataset / "features.json"
    content = json.loads(path.read_text())
    content["featuresDict"]["features"]["id"]["pythonClassName"] = "a\nb\x1b" * 5_000
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=str(dataset)) as refusal:
        open_builder(str(dataset))
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 1_000


def test_classes_that_a_program_registers_are_not_a_datasets_to_name(dataset):
    class Registered(tfds.features.Text):
        pass

    name = f"{Registered.__module__}.{Registered.__name__}"
    find = tfds.features.FeatureConnector.cls_from_name
    assert find(name) is Registered
    path = dataset / "features.json"
    path.write_text(
        path.read_text().replace(
            "tensorflow_datasets.core.features.text_feature.Text", name
        )
    )
    with pytest.raises(ValueError, match=name):
        open_builder(str(dataset))
    assert tfds.features.FeatureConnector.cls_from_name(name) is Registered


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"featuresDict": {}}', "[" * 10**5]
)
def test_broken_metadata_are_one_error(dataset, content):
    (dataset / "features.json").write_text(content)
    with pytest.raises(ValueError, match=str(dataset)):
        open_builder(str(dataset))
