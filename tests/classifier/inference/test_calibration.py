import dataclasses
import functools
import json
import pathlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from classifier.data import folds
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from classifier.export.facts import read_facts
from classifier.inference import temperature_scaling
from classifier.inference.calibration import describe, plan, write
from classifier.inference.calibration import predict as predict_part
from classifier.inference.ensemble import Ensemble
from stage import artifact
from stage.calibration_files import read_temperature
from tests.conftest import CLASS_NAMES, export
from tests.images import random_images, write_folder, write_records

LABELS = [0, 1, 2] * 3
NUM_FOLDS = 2


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, random_images(len(LABELS)), LABELS)
    return open_source(f"folder:{root}")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Three images more; a fourth is none."""
    root = tmp_path_factory.mktemp("other")
    write_records(root / "part", [*random_images(3, seed=1), b"text"], [0, 1, 2, 0])
    (root / "names.txt").write_text("\n".join(CLASS_NAMES))
    return open_source(
        f"tfrecord:{root}/part", class_names_file=str(root / "names.txt")
    )


@pytest.fixture(scope="module")
def networks(tmp_path_factory, config, exported, exported_second):
    third, _ = export(tmp_path_factory.mktemp("networks") / "third", config, seed=3)
    return [exported[0], exported_second[0], third]


@pytest.fixture(scope="module")
def teachers(networks, source, tmp_path_factory):
    """Makes teachers that left out the given folds, -1 for none."""

    @functools.cache
    def make(*left_out, count=NUM_FOLDS, labeled=None):
        places = []
        root = tmp_path_factory.mktemp("teachers")
        for index, fold in enumerate(left_out):
            place = root / f"teacher-{index}"
            no_export = shutil.ignore_patterns("export")
            shutil.copytree(networks[index], place, ignore=no_export)
            (place / "export").symlink_to(networks[index] / "export")
            described = (labeled or source).describe()
            fact = {"folds": count, "fold": fold, "labeled": described}
            change(place / "classifier.json", left_out=fact if fold >= 0 else None)
            of_config = described if fold < 0 else {"a": "part of it"}
            change(
                place / "config.json",
                labeled=of_config,
                left_out=fact if fold >= 0 else None,
            )
            places.append(str(place))
        return places

    return make


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def calibrate(teachers, output, **sources):
    config, parts = plan(teachers, **{"held_out": None, "out_of_fold": None, **sources})
    assert not artifact.start_or_resume(output, config)
    facts = write(output, config, [predict_part(part) for part in parts])
    return facts, pq.read_table(output / "calibration.parquet").to_pylist()


@pytest.fixture(scope="module")
def held_out(teachers, other, tmp_path_factory):
    """A calibration of two teachers: its directory, teachers and facts."""
    output = tmp_path_factory.mktemp("calibration") / "made"
    places = teachers(0, 1)
    facts, _ = calibrate(places, output, held_out=other)
    return output, places, facts


def predict_all(teachers, source, temperature=1.0):
    """The mean probabilities of teachers, by key."""
    examples = list(read_examples(source.reader, source.files))
    ensemble = Ensemble(teachers, temperature=temperature)
    probabilities = ensemble.predict(ensemble.decode(examples)).probabilities
    keys = [example.key.decode() for example in examples]
    return dict(zip(keys, probabilities, strict=True))


def test_each_image_is_predicted_by_those_that_left_it_out(teachers, source, tmp_path):
    """The first and the third teacher left out the same fold."""
    places = teachers(0, 1, 0)
    facts, rows = calibrate(places, tmp_path / "made", out_of_fold=source)
    fold_of = dict(
        zip(
            [file.name for file in source.files],
            np.concatenate(folds.assign_source(source, NUM_FOLDS)).tolist(),
            strict=True,
        )
    )
    by_fold = {
        0: predict_all([places[0], places[2]], source),
        1: predict_all([places[1]], source),
    }
    assert {row["key"] for row in rows} == fold_of.keys()
    for row in rows:
        assert row["fold"] == fold_of[row["key"]]
        expected = by_fold[row["fold"]][row["key"]]
        assert row["predicted"] == expected.argmax()
        assert row["confidence"] == expected.max()
        assert row["label"] == "abc".index(row["key"][0])
    right = [row["label"] == row["predicted"] for row in rows]
    assert facts["accuracy"] == np.mean(right)
    assert (facts["kind"], facts["num_images"]) == ("out_of_fold", len(LABELS))


def test_all_teachers_predict_what_was_held_out(teachers, other, tmp_path, monkeypatch):
    monkeypatch.setattr(
        temperature_scaling, "fit_temperature", lambda parts: (2.5, None)
    )
    places = teachers(0, 1)
    facts, rows = calibrate(places, tmp_path / "made", held_out=other)
    probabilities = predict_all(places, other, temperature=2.5)
    assert [row["key"] for row in rows] == ["part#0", "part#1", "part#2"]
    for row in rows:
        assert row["confidence"] == probabilities[row["key"]].max()
        assert row["fold"] is None
    assert (facts["num_images"], facts["num_undecodable"]) == (3, 1)
    assert facts["temperature"] == 2.5


def test_the_file_holds_all_facts(held_out):
    directory, places, facts = held_out
    written = (directory / "calibration.json").read_text()
    assert written == json.dumps(facts, indent=2) + "\n"
    fingerprints = [read_facts(place).fingerprint for place in places]
    assert facts["teachers"] == fingerprints
    assert facts["class_names"] == CLASS_NAMES
    for name in ("negative_log_likelihood", "calibration_error"):
        assert facts[name]["before"] == facts[name]["after"]
    assert facts["temperature_reason"].startswith("3 images are too few")
    first, second = describe(facts)
    assert "3 images held out (1 undecodable)" in first
    assert second.startswith(f"temperature 1.0: {facts['temperature_reason']}")
    artifact.complete(directory, seconds=0)
    assert read_temperature(directory, teachers=fingerprints) == 1.0


def test_the_schema_is_as_promised(held_out):
    schema = pq.read_schema(held_out[0] / "calibration.parquet")
    assert [(field.name, str(field.type)) for field in schema] == [
        ("key", "string"),
        ("label", "int32"),
        ("predicted", "int32"),
        ("confidence", "float"),
        ("fold", "int32"),
    ]


def test_twice_the_same_bytes(teachers, source, tmp_path, loaders):
    places = teachers(1, 0)
    for name in ("first", "second"):
        calibrate(places, tmp_path / name, out_of_fold=source)
        for loader in loaders:
            loader.clear()
    for name in ("config.json", "calibration.json", "calibration.parquet"):
        first, second = (
            (tmp_path / d / name).read_bytes() for d in ("first", "second")
        )
        assert first == second


# --- refusals ------------------------------------------------------------------
def refused(message, teachers, **sources):
    with pytest.raises(ValueError, match=message):
        plan(teachers, **{"held_out": None, "out_of_fold": None, **sources})


def test_one_kind_is_asked_for(teachers, source):
    refused("--held_out.*--out_of_fold", teachers(0))
    refused(
        "--held_out.*--out_of_fold", teachers(), held_out=source, out_of_fold=source
    )


@pytest.mark.parametrize("fold", [-1, 0])
def test_what_a_teacher_was_trained_on_is_not_held_out(teachers, source, fold):
    refused("teacher-0.*folder:.*--held_out", teachers(fold), held_out=source)


def test_other_images_of_the_same_names_are_said_to_be_so(teachers, source):
    (place,) = teachers(-1)
    described = {**source.describe(), "content": "of other images"}
    change(pathlib.Path(place) / "config.json", labeled=described)
    refused("teacher-0.*names.*folder:.*other names", [place], held_out=source)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ((0, -1), "teacher-1.*--fold"),
        ((0,), "2 folds.*fold 1"),
        ((1, 1), "2 folds.*fold 0"),
    ],
)
def test_every_fold_needs_a_teacher(teachers, source, left_out, message):
    refused(message, teachers(*left_out), out_of_fold=source)


def test_teachers_must_have_the_same_folds(teachers, source):
    places = [*teachers(0), *teachers(1, count=3)]
    refused(r"--folds.*\[2, 3\]", places, out_of_fold=source)


def test_folds_of_other_images_are_refused(teachers, source, other):
    places = teachers(0, 1, labeled=other)
    refused("teacher-0.*folder:.*--labeled", places, out_of_fold=source)


def test_images_must_have_labels_of_the_teachers_classes(teachers, tmp_path):
    write_records(tmp_path / "images" / "part", random_images(2), [0, 7])
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASS_NAMES))
    source = open_source(
        f"tfrecord:{tmp_path}/images/part", class_names_file=str(names)
    )
    refused(r"part#1: .*0\.\.2, got 7", teachers(0), held_out=source)
    names.write_text("x\ny\nz\n")
    source = open_source(
        f"tfrecord:{tmp_path}/images/part", class_names_file=str(names)
    )
    refused("class 0.*'a'.*'x'", teachers(0), held_out=source)


def test_images_that_changed_since_training_are_refused(teachers, source):
    before = dataclasses.replace(source, content="other")
    refused("teacher-0", teachers(0, 1, labeled=before), out_of_fold=source)
    refused("teacher-0.*--held_out", teachers(-1, labeled=before), held_out=source)


def test_there_must_be_an_image(teachers, tmp_path):
    write_records(tmp_path / "images" / "part", [b"text"], [0])
    names = tmp_path / "names.txt"
    names.write_text("\n".join(CLASS_NAMES))
    source = open_source(
        f"tfrecord:{tmp_path}/images/part", class_names_file=str(names)
    )
    refused("part#0: no header", teachers(0), held_out=source)
