import json
import shutil

import numpy as np
import pytest

from pseudo_label.predictions import prediction_set
from pseudo_label.predictions import schema as prediction_schema
from stage import artifact
from tests import chain


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("predictions"), teachers=("aa", "bb"))


@pytest.fixture
def directory(labeled, tmp_path):
    """A copy of the predictions, to be spoiled."""
    return shutil.copytree(labeled.predictions, tmp_path / "predictions")


def test_opens_what_a_labeling_job_has_written(labeled):
    opened = prediction_set.open_predictions(labeled.predictions)
    assert opened.teachers == ("aa", "bb")
    assert opened.class_names == chain.CLASS_NAMES
    assert (opened.num_shards, opened.num_images) == (3, 24)
    assert (opened.top_k, opened.temperature) == (chain.TOP_K, 1.0)
    assert opened.even_share == 8
    assert opened.path(2).name == prediction_schema.shard_name(2)


def test_keys_are_read_by_shard_and_row(labeled):
    opened = prediction_set.open_predictions(labeled.predictions)
    keys = [
        prediction_schema.read_table(opened.path(shard), ["key"])["key"].to_pylist()
        for shard in range(3)
    ]
    rng = np.random.default_rng(0)
    shards, rows = rng.integers(0, 3, 40), rng.integers(0, 8, 40)
    expected = [keys[shard][row] for shard, row in zip(shards, rows, strict=True)]
    assert opened.read_keys(shards, rows) == expected


def test_a_missing_file_is_named(directory):
    (directory / prediction_schema.shard_name(1)).unlink()
    with pytest.raises(ValueError, match=prediction_schema.shard_name(1)):
        prediction_set.open_predictions(str(directory))


def test_a_file_too_many_is_named(directory):
    path = directory / prediction_schema.shard_name(3)
    shutil.copy(directory / prediction_schema.shard_name(0), path)
    with pytest.raises(ValueError, match=path.name):
        prediction_set.open_predictions(str(directory))


def test_a_file_of_another_labeling_run_is_named(directory):
    config = json.loads((directory / "config.json").read_text())
    config["top_k"] += 1
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=prediction_schema.shard_name(0)):
        prediction_set.open_predictions(str(directory))


def test_the_path_of_the_images_may_change(directory):
    before = prediction_set.open_predictions(str(directory)).fingerprint
    config = json.loads((directory / "config.json").read_text())
    config["images"]["name"] = "elsewhere"
    (directory / "config.json").write_text(json.dumps(config))
    assert prediction_set.open_predictions(str(directory)).fingerprint != before


def test_a_directory_of_something_else_is_refused(directory):
    (directory / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="teachers"):
        prediction_set.open_predictions(str(directory))
    (directory / artifact.COMPLETED).unlink()
    with pytest.raises(ValueError, match=artifact.COMPLETED):
        prediction_set.open_predictions(str(directory))


def test_several_teachers_have_one_fingerprint():
    one, two = (
        prediction_set.teacher_fingerprint(teachers)
        for teachers in (["aa"], ["aa", "bb"])
    )
    assert one == "aa"
    assert two == artifact.fingerprint([b"aa", b"bb"]) != one


def test_several_shards_may_be_empty(directory):
    opened = prediction_set.open_predictions(str(directory))
    fingerprint = prediction_schema.read_facts(opened.path(0)).fingerprint
    for shard in (1, 2):
        with opened.path(shard).open("wb") as file:
            prediction_schema.write_shard(file, iter([]), fingerprint=fingerprint)
    assert prediction_set.open_predictions(str(directory)).num_images == 8
