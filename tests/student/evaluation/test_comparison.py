import collections
import dataclasses
import re
import shutil

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from classifier.data.preprocessing import evaluation_image
from classifier.data.sources import open_source
from classifier.inference import evaluation as rows_of
from pseudo_label.dataset import records
from pseudo_label.dataset.records import Record
from stage import artifact
from stage.tfds_directory import FRAME_BYTES
from student.evaluation import comparison
from student.training.mixture import open_pseudo_labeled
from tests.conftest import CLASS_NAMES, rename_classes
from tests.images import random_images, write_folder

#: Records by shard: image and copy. Only the first copies count.
SHARDS = (
    [(0, 0), (1, 0), (2, 0), (3, 1), (4, 0), (5, 0)],
    [],
    [(3, 0), (6, 0), (0, 1)],
    [(0, 2)],
)
NUM_RECORDS = sum(map(len, SHARDS))
IMAGES = random_images(7, seed=5)
PSEUDO_LABELS = [0, 1, 2, 0, 1, 2, 0]


def write_dataset(directory, shards, class_names=CLASS_NAMES):
    """Writes a dataset of pseudo-labels, complete."""
    artifact.start_or_resume(directory, {"made": "up"})
    size = 0
    for index, content in enumerate(shards):
        path = directory / records.shard_name(index, len(shards))
        with tf.io.TFRecordWriter(str(path)) as writer:
            for image, copy in content:
                writer.write(records.serialize(to_record(image, copy)))
        size += path.stat().st_size - FRAME_BYTES * len(content)
    records.write_metadata(
        str(directory),
        records.features(class_names, top_k=1),
        shard_lengths=[len(content) for content in shards],
        num_bytes=size,
    )
    artifact.complete(directory, seconds=0)
    return directory


def to_record(image, copy):
    label = PSEUDO_LABELS[image]
    return Record(
        image=IMAGES[image],
        label=label,
        confidence=0.9,
        top_labels=[label],
        top_probabilities=[0.9],
        key=str(image),
        source="shard-00000",
        row=image,
        teacher="0123",
        round=1,
        copy=copy,
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("dataset") / "dataset", SHARDS)


@pytest.fixture(scope="module")
def labeled(tmp_path_factory):
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, random_images(6), [0, 1, 2] * 2)
    return open_source(f"folder:{root}")


@pytest.fixture(scope="module")
def inputs(exported, exported_second, labeled, dataset):
    """The config of a comparison with all inputs, and the pseudo-labeled images."""
    return comparison.check_inputs(
        str(exported[0]),
        labeled,
        pseudo_labeled=str(dataset),
        teachers=[str(exported_second[0])],
    )


@pytest.fixture(scope="module")
def result(exported, exported_second, labeled, inputs):
    return comparison.evaluate(
        str(exported[0]),
        labeled,
        pseudo_labeled=inputs[1],
        teachers=[str(exported_second[0])],
    )


def right(directory_and_model, labeled, size, config):
    """Which images a model is right on, by Keras."""
    _, model = directory_and_model
    image = dataclasses.replace(config.image, size=size)
    found = {}
    for file in labeled.files:
        with open(file.path, "rb") as content:
            pixels = evaluation_image(content.read(), image)[None]
        found[file.name] = np.argmax(model(pixels, training=False)) == file.label
    return found


def test_the_figures_are_those_of_the_two_models(
    result, exported, exported_second, labeled, config
):
    figures, rows = result
    student = right(exported, labeled, 32, config)
    teacher = right(exported_second, labeled, 40, config)
    assert dict(zip(rows["key"].to_pylist(), rows_of.is_right(rows), strict=True)) == (
        student
    )
    assert figures["top1"] == sum(student.values()) / 6
    assert figures["teacher"] == {
        "top1": sum(teacher.values()) / 6,
        "only_student_right": sum(student[k] > teacher[k] for k in student),
        "only_teacher_right": sum(student[k] < teacher[k] for k in student),
    }


def test_the_fit_is_the_share_of_images_with_their_pseudo_label(
    result, exported, config
):
    _, model = exported
    pixels = np.stack([evaluation_image(image, config.image) for image in IMAGES])
    predicted = np.argmax(model(pixels, training=False), axis=1)
    # Each once, however many copies there are.
    assert result[0]["fit"] == {
        "num_examples": len(IMAGES),
        "agreement": np.mean(predicted == PSEUDO_LABELS),
    }


def places(source):
    """Shard and place of each record that a source reads."""
    for file in source.files:
        for example in source.reader.examples(file):
            name, _, place = example.key.decode().partition("#")
            yield int(name.partition("tfrecord-")[2][:5]), int(place)


@pytest.mark.parametrize("limit", range(NUM_RECORDS + 2))
def test_a_sample_has_the_first_copies_of_the_first_records(inputs, limit):
    found = list(places(comparison.sample_images(inputs[1].source, limit)))
    for shard, content in enumerate(SHARDS):
        own = [place for one, place in found if one == shard]
        firsts = [place for place, (_, copy) in enumerate(content) if copy == 0]
        assert own == firsts[: len(own)]
    if limit >= NUM_RECORDS:
        images = [SHARDS[shard][place][0] for shard, place in found]
        assert sorted(images) == list(range(len(IMAGES)))


def test_a_sample_is_the_same_share_of_every_shard(tmp_path):
    lengths = (30, 1, 0, 50, 19)
    shards = [[(0, 0)] * length for length in lengths]
    directory = write_dataset(tmp_path / "dataset", shards)
    source = open_pseudo_labeled(str(directory), CLASS_NAMES).source
    for limit in (1, 7, 50, 99, 100, 101):
        sample = comparison.sample_images(source, limit)
        counts = collections.Counter(shard for shard, _ in places(sample))
        assert counts.total() == min(limit, 100)
        for shard, length in enumerate(lengths):
            assert abs(counts[shard] - min(limit, 100) / 100 * length) < 1


def table(*predicted):
    rows = [
        {
            "key": str(index),
            "label": 0,
            "predicted": label,
            "confidence": None if label is None else 0.5,
            "status": "undecodable" if label is None else "ok",
        }
        for index, label in enumerate(predicted)
    ]
    return pa.Table.from_pylist(rows, schema=rows_of.SCHEMA)


def test_a_comparison_counts_what_only_one_gets_right():
    student, teacher = table(0, 0, 0, 1, 1, None), table(0, 1, 1, 0, 2, None)
    found = comparison.compare(student, teacher)
    assert found == {
        "top1": 2 / 6,
        "only_student_right": 2,
        "only_teacher_right": 1,
    }
    figures = {**rows_of.summarize(student), "teacher": found}
    line = comparison.describe(figures)[-1]
    assert re.findall(r"[+-]?\d[\d.]*", line) == ["2", "1", "+16.67"]


def test_the_difference_of_the_accuracies_is_that_of_the_counts(result):
    figures, rows = result
    teacher = figures["teacher"]
    gained = teacher["only_student_right"] - teacher["only_teacher_right"]
    difference = figures["top1"] - teacher["top1"]
    assert difference * len(rows) == pytest.approx(gained)


def test_nobody_is_better_than_themselves():
    rows = table(0, 1, None)
    found = comparison.compare(rows, rows)
    assert (found["only_student_right"], found["only_teacher_right"]) == (0, 0)


def test_other_images_are_not_compared():
    with pytest.raises(ValueError, match="images"):
        comparison.compare(table(0, 1), table(0, 1).slice(1))


def test_what_was_not_asked_for_is_not_said(exported, labeled):
    config, pseudo_labeled = comparison.check_inputs(str(exported[0]), labeled)
    assert (config["pseudo_labeled"], config["teachers"]) == (None, [])
    assert pseudo_labeled is None
    figures, _ = comparison.evaluate(str(exported[0]), labeled)
    assert not {"fit", "teacher"} & set(figures)
    assert len(comparison.describe(figures)) == 1


def test_what_is_asked_for_is_part_of_the_config(inputs, exported, labeled):
    config, _ = inputs
    assert config != comparison.check_inputs(str(exported[0]), labeled)[0]
    assert len(config["teachers"]) == 1
    assert config["pseudo_labeled"]


def test_other_classes_are_refused(exported, labeled, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(exported[0], other)
    rename_classes(other, exported[1], ["a", "b", "x"])
    dataset = write_dataset(tmp_path / "dataset", SHARDS, ("a", "b", "x"))
    student = str(exported[0])
    for refused in (
        lambda: comparison.check_inputs(student, labeled, teachers=[str(other)]),
        lambda: comparison.check_inputs(str(other), labeled),
        lambda: comparison.check_inputs(student, labeled, pseudo_labeled=str(dataset)),
    ):
        with pytest.raises(ValueError, match=r"\b2\b.*'(c|x)'.*'(x|c)'"):
            refused()
