import csv
import io
import json
import re

import numpy as np
import pytest

from classifier.data.examples import File
from classifier.inference import file_predictions
from classifier.inference.ensemble import BATCH_SIZE, Ensemble
from classifier.inference.file_predictions import FilePrediction, TopClass
from tests.conftest import CLASS_NAMES
from tests.images import random_images, to_examples

COUNT = BATCH_SIZE + 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """More images than a batch, in nested folders, and one text file."""
    root = tmp_path_factory.mktemp("images")
    (root / "more" / "deep").mkdir(parents=True)
    for index, image in enumerate(random_images(COUNT)):
        place = root / "more" / "deep" if index % 2 else root
        (place / f"{index:03d}.png").write_bytes(image)
    (root / "more" / "note.txt").write_text("a bird")
    return root


@pytest.fixture(scope="module")
def ensemble(exported, exported_second):
    return Ensemble([exported[0], exported_second[0]])


@pytest.fixture(scope="module")
def predictions(ensemble, folder):
    files = file_predictions.list_images([str(folder), str(folder / "none.png")])
    return list(file_predictions.predict_files(ensemble, files, top_k=2))


def test_every_file_is_predicted_once_in_order(predictions, folder):
    everything = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    files = [prediction.file for prediction in predictions]
    assert files == [*everything, f"{folder}/none.png"]


def test_the_top_classes_are_the_most_probable(predictions, ensemble, folder):
    for prediction in predictions[:3]:
        with open(prediction.file, "rb") as file:
            decoded = ensemble.decode(to_examples([file.read()]))
        (expected,) = ensemble.predict(decoded).probabilities
        probabilities = [top.probability for top in prediction.top]
        assert probabilities == sorted(expected.tolist(), reverse=True)[:2]
        for top in prediction.top:
            assert top.probability == expected[top.label]
            assert top.class_name == CLASS_NAMES[top.label]


def test_a_file_that_is_no_image_has_a_reason(predictions):
    bad = {
        prediction.file.rpartition("/")[2]: prediction
        for prediction in predictions
        if prediction.status != "ok"
    }
    assert set(bad) == {"note.txt", "none.png"}
    assert bad["note.txt"].status == "undecodable"
    assert "JPEG" in bad["note.txt"].error
    assert bad["none.png"].status == "missing"
    assert not any(prediction.top for prediction in bad.values())


def test_top_k_is_at_most_the_number_of_classes(ensemble, folder):
    files = file_predictions.list_images([str(folder)])[:1]
    (prediction,) = file_predictions.predict_files(ensemble, files, top_k=9)
    assert {top.label for top in prediction.top} == {0, 1, 2}
    assert sum(top.probability for top in prediction.top) == pytest.approx(1)


def test_of_equal_classes_the_first_comes_first(ensemble, folder, monkeypatch):
    predict = ensemble.predict

    def predict_equal(decoded):
        predictions = predict(decoded)
        predictions.probabilities[:] = np.float32(1 / 3)
        return predictions

    monkeypatch.setattr(ensemble, "predict", predict_equal)
    files = file_predictions.list_images([str(folder)])[:1]
    (prediction,) = file_predictions.predict_files(ensemble, files, top_k=3)
    assert [top.label for top in prediction.top] == [0, 1, 2]


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / ".hidden.png").write_bytes(b"")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        file_predictions.list_images([str(tmp_path)])


def test_a_name_cannot_command_the_terminal(ensemble, tmp_path):
    name = b"\x1b[31mred\n\xff\xe2\x80\xae.png"  # Colors, lines, direction of writing.
    path = tmp_path.as_posix().encode() + b"/" + name
    with open(path, "wb") as file:
        file.write(random_images(1)[0])
    files = file_predictions.list_images([str(tmp_path)])
    (prediction,) = file_predictions.predict_files(ensemble, files, top_k=1)
    assert prediction.status == "ok"
    shown = f"{tmp_path}/\\x1b[31mred\\n\\xff\\u202e.png"
    for name in ("table", "csv"):
        layout = file_predictions.make_layout(name, files=files, class_names="abc")
        assert shown in layout.lines(prediction)
        assert "\n" not in layout.lines(prediction)
    assert json.loads(file_predictions.to_json(prediction))["file"] == prediction.file


TOP = (TopClass(1, "robin, red", 0.97314123456), TopClass(0, "wren\t", 1.4e-45))
GOOD = FilePrediction("a b.jpg", "ok", "", TOP)
BAD = FilePrediction("b.jpg", "empty", "no bytes", ())


def lines(name):
    files = [File(path=each, name=each) for each in ("a b.jpg", "b.jpg")]
    layout = file_predictions.make_layout(
        name, files=files, class_names=("wren\t", "robin, red")
    )
    return [*layout.header, layout.lines(GOOD), layout.lines(BAD)]


def test_predictions_as_a_table():
    assert lines("table") == [
        "file     class      probability  next",
        "a b.jpg  robin, red      97.31%  wren\\t 0.00%",
        "b.jpg    empty: no bytes",
    ]


def test_predictions_as_csv():
    rows = list(csv.DictReader(io.StringIO("\n".join(lines("csv")))))
    assert [row["class"] for row in rows] == ["robin, red", "wren\\t", ""]
    assert [row["probability"] for row in rows] == ["0.973141", "0.000000", ""]
    assert [row["rank"] for row in rows] == ["1", "2", ""]
    assert [row["label"] for row in rows] == ["1", "0", ""]
    assert rows[2]["error"] == "no bytes"
    assert {row["status"] for row in rows} == {"ok", "empty"}


def test_predictions_as_json():
    good, bad = map(json.loads, lines("json"))
    assert good == {
        "file": "a b.jpg",
        "status": "ok",
        "top": [
            {"label": 1, "class_name": "robin, red", "probability": 0.973141},
            {"label": 0, "class_name": "wren\t", "probability": 0.0},
        ],
    }
    assert bad == {"file": "b.jpg", "status": "empty", "error": "no bytes"}


def test_a_row_whose_only_class_is_printed():
    one = FilePrediction("a.jpg", "ok", "", TOP[:1])
    row = file_predictions.to_row(one, file_width=5, width=3)
    assert row == "a.jpg  robin, red      97.31%"


def test_a_folder_may_be_named_as_a_source(folder):
    plain = file_predictions.list_images([str(folder)])
    assert file_predictions.list_images([f"folder:{folder}"]) == plain
    with pytest.raises(ValueError, match=r"parquet:x\.parquet"):
        file_predictions.list_images(["parquet:x.parquet"])


def test_a_file_may_be_named_like_a_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "csv:x").write_bytes(b"")
    (file,) = file_predictions.list_images(["csv:x"])
    assert file.path == "csv:x"
