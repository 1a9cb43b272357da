import json

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from classifier.data.sources import open_source
from stage import artifact
from tests.commands import call
from workflow.digits.digits_dataset_builder import (
    draw_splits,
    encode_png,
    export_unlabeled,
    load_images,
)

FLAGS = ("--labels_per_class=2", "--calibration_images=10", "--seed=3")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("digits")
    process = call("workflow.digits", f"--output={directory}", *FLAGS, "--num_shards=3")
    assert process.returncode == 0, process.stderr
    return directory


@pytest.fixture(scope="module")
def expected():
    """The PNG files of each split, by independent means."""
    images, labels = load_images()
    splits = draw_splits(labels, labels_per_class=2, calibration_images=10, seed=3)
    return {
        name: {encode_png(images[index]) for index in indices}
        for name, indices in splits.items()
    }


def read_records(paths):
    for record in tf.data.TFRecordDataset(paths):
        example = tf.train.Example.FromString(record.numpy())
        assert list(example.features.feature) == ["image/encoded"]
        yield example.features.feature["image/encoded"].bytes_list.value[0]


def test_the_unlabeled_images_are_in_shards_without_labels(prepared, expected):
    paths = sorted(map(str, (prepared / "unlabeled").iterdir()))
    assert len(paths) == 3
    sizes = [len(list(read_records([path]))) for path in paths]
    assert max(sizes) - min(sizes) <= 1
    assert set(read_records(paths)) == expected["unlabeled"]


@pytest.mark.parametrize("split", ["labeled", "test", "calibration"])
def test_the_other_splits_open_as_labeled_sources(prepared, expected, split):
    name = "labels2_calibration10_seed3"
    source = open_source(f"tfds:digits/{name}:{split}", data_dir=str(prepared))
    assert source.num_examples == len(expected[split])
    assert len(source.labeled_class_names()) == 10


def test_what_is_complete_is_not_made_again(prepared):
    command = ("workflow.digits", f"--output={prepared}", *FLAGS)
    before = (prepared / artifact.COMPLETED).read_bytes()
    process = call(*command, "--num_shards=3")
    assert process.returncode == 0
    assert "already complete" in process.stdout
    assert (prepared / artifact.COMPLETED).read_bytes() == before
    assert json.loads((prepared / artifact.CONFIG).read_text())["num_shards"] == 3
    process = call(*command, "--num_shards=4")
    assert process.returncode == 1
    assert "num_shards" in process.stderr


def test_shards_of_any_number_hold_each_image_once(prepared, expected, tmp_path):
    (version,) = prepared.glob("digits/*/1.0.0")
    builder = tfds.builder_from_directory(version)
    count = export_unlabeled(builder, str(tmp_path / "shards"), num_shards=7)
    paths = sorted(map(str, (tmp_path / "shards").iterdir()))
    assert len(paths) == 7
    images = list(read_records(paths))
    assert len(images) == count == len(expected["unlabeled"])
    assert set(images) == expected["unlabeled"]


def test_what_a_killed_run_has_left_is_deleted(tmp_path):
    settings = {"labels_per_class": 2, "calibration_images": 10, "seed": 3}
    artifact.start_or_resume(tmp_path, {**settings, "num_shards": 3})
    left = tmp_path / "digits" / "labels2_calibration10_seed3" / "incomplete.1_1.0.0"
    left.mkdir(parents=True)
    process = call("workflow.digits", f"--output={tmp_path}", *FLAGS, "--num_shards=3")
    assert process.returncode == 0, process.stderr
    assert not left.exists()
    (line,) = process.stdout.splitlines()
    assert line.endswith("unlabeled digits in 3 TFRecord files")
    assert left.with_name("1.0.0").exists()
