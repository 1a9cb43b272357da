import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.data import preprocessing
from classifier.data.sources import open_source
from classifier.inference import evaluation
from classifier.inference.ensemble import Ensemble
from tests.images import random_images, write_folder, write_records

LABELS = [0, 0, 1, 1, 2]


@pytest.fixture(scope="module")
def images():
    return random_images(len(LABELS))


@pytest.fixture(scope="module")
def ensemble(exported):
    return Ensemble([exported[0]])


@pytest.fixture(scope="module")
def rows(ensemble, images, tmp_path_factory):
    """Rows of five images and a text file."""
    root = tmp_path_factory.mktemp("labeled")
    write_folder(root, images, LABELS)
    (root / "b" / "note.txt").write_text("a bird")
    source = open_source(f"folder:{root}")
    return evaluation.evaluate(ensemble, source)


def table(*rows):
    """Rows of keys in order, from (label, predicted, confidence)."""
    content = [
        {
            "key": str(index),
            "label": label,
            "predicted": predicted,
            "confidence": confidence,
            "status": "ok" if predicted is not None else "undecodable",
        }
        for index, (label, predicted, confidence) in enumerate(rows)
    ]
    return pa.Table.from_pylist(content, schema=evaluation.SCHEMA)


def test_every_image_has_the_row_that_the_model_gives_it(
    rows, exported, config, images
):
    assert rows.schema.names == ["key", "label", "predicted", "confidence", "status"]
    found = {row["key"]: row for row in rows.to_pylist()}
    assert list(found) == sorted(found)
    bad = found.pop("b/note.txt")
    assert (bad["predicted"], bad["confidence"]) == (None, None)
    assert (bad["label"], bad["status"]) == (1, "undecodable")
    for index, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        row = found.pop(f"{'abc'[label]}/{index:05d}.png")
        pixels = preprocessing.evaluation_image(image, config.image)[None]
        logits = np.asarray(exported[1](pixels, training=False))[0]
        assert (row["label"], row["status"]) == (label, "ok")
        assert row["predicted"] == logits.argmax()
        expected = 1 / np.exp(logits - logits.max()).sum()
        assert row["confidence"] == pytest.approx(expected, rel=1e-4)
    assert not found


def test_the_figures_are_those_of_the_rows(rows):
    figures = evaluation.summarize(rows)
    content = rows.to_pylist()
    correct = sum(row["label"] == row["predicted"] for row in content)
    assert figures["num_examples"] == len(LABELS) + 1
    assert figures["num_correct"] == correct
    assert figures["num_undecodable"] == 1
    assert figures["top1"] == correct / len(content)


def test_the_calibration_error_is_of_what_was_decoded():
    figures = evaluation.summarize(
        # Two bins: one is right half of the time at 0.9, one always at 0.5.
        table((0, 0, 0.9), (0, 1, 0.9), (1, 1, 0.5), (1, 1, 0.5), (2, None, None))
    )
    assert figures["calibration_error"] == pytest.approx((0.4 + 0.5) / 2)
    assert figures["top1"] == 3 / 5


def test_without_a_decoded_image_there_is_no_calibration_error():
    figures = evaluation.summarize(table((0, None, None), (1, None, None)))
    assert figures["calibration_error"] is None
    assert (figures["top1"], figures["num_undecodable"]) == (0.0, 2)
    line = evaluation.describe(figures)
    assert "(2 undecodable)" in line
    assert "calibration" not in line


def test_what_is_written_is_what_was_found(rows, tmp_path):
    figures = evaluation.summarize(rows)
    evaluation.write(tmp_path, figures, rows)
    assert json.loads((tmp_path / evaluation.EVALUATION).read_text()) == figures
    written = pq.read_table(tmp_path / evaluation.ROWS)
    assert written.equals(rows)
    assert {path.name for path in tmp_path.iterdir()} == {
        evaluation.EVALUATION,
        evaluation.ROWS,
    }


@pytest.fixture
def names(tmp_path):
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    return str(tmp_path / "names.txt")


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (None, "'image/class/label'.*--label_feature"),
        (3, r"0\.\.2, got 3$"),
        (-7, r"0\.\.2, got -7$"),
    ],
)
def test_an_image_without_a_label_in_range_is_refused(
    ensemble, images, tmp_path, names, label, found
):
    write_records(tmp_path / "in", images[:2], [0, label])
    source = open_source(f"tfrecord:{tmp_path}/in", class_names_file=names)
    with pytest.raises(ValueError, match=f"in#1: .*{found}"):
        evaluation.evaluate(ensemble, source)


def test_a_record_that_cannot_be_read_counts_as_wrong(
    ensemble, images, tmp_path, names
):
    write_records(tmp_path / "in", images[:3], [0, 1, 2])
    content = (tmp_path / "in").read_bytes()
    (tmp_path / "in").write_bytes(content[:-10])
    source = open_source(f"tfrecord:{tmp_path}/in", class_names_file=names)
    rows = evaluation.evaluate(ensemble, source)
    assert rows["status"].to_pylist() == ["ok", "ok", "corrupt_record"]
    assert rows["label"].to_pylist() == [0, 1, -1]
    assert evaluation.summarize(rows)["num_undecodable"] == 1


def test_no_image_is_no_evaluation(ensemble, tmp_path, names):
    write_records(tmp_path / "in", [])
    source = open_source(f"tfrecord:{tmp_path}/in", class_names_file=names)
    with pytest.raises(ValueError, match="none"):
        evaluation.evaluate(ensemble, source)
