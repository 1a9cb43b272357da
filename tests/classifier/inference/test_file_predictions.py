import json

import numpy as np
import pytest

from classifier.inference import file_predictions
from classifier.inference.ensemble import BATCH_SIZE, Ensemble
from classifier.inference.file_predictions import Answer, TopClass
from tests.conftest import CLASS_NAMES
from tests.images import random_images

COUNT = BATCH_SIZE + 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """More images than a batch has, in folders; one file is none."""
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
def answers(ensemble, folder):
    files = file_predictions.list_images([str(folder), str(folder / "none.png")])
    return list(file_predictions.answers(ensemble, files, top_k=2))


def test_every_file_is_answered_once_in_order(answers, folder):
    everything = sorted(str(one) for one in folder.rglob("*") if one.is_file())
    assert [one.file for one in answers] == [*everything, f"{folder}/none.png"]


def test_the_top_classes_are_the_most_probable(answers, ensemble, folder):
    for answer in answers[:3]:
        with open(answer.file, "rb") as file:
            (expected,) = ensemble.predict(ensemble.decode([file.read()])).probabilities
        probabilities = [one.probability for one in answer.top]
        assert probabilities == sorted(expected.tolist(), reverse=True)[:2]
        for one in answer.top:
            assert one.probability == expected[one.label]
            assert one.class_name == CLASS_NAMES[one.label]


def test_what_is_no_image_is_an_answer_with_a_reason(answers):
    bad = {one.file.rpartition("/")[2]: one for one in answers if one.status != "ok"}
    assert set(bad) == {"note.txt", "none.png"}
    assert bad["note.txt"].status == "undecodable"
    assert "no header of a JPEG" in bad["note.txt"].error
    assert bad["none.png"].status == "missing"
    assert not any(one.top for one in bad.values())


def test_there_are_no_more_classes_than_there_are(ensemble, folder):
    files = file_predictions.list_images([str(folder)])[:1]
    (answer,) = file_predictions.answers(ensemble, files, top_k=9)
    assert {one.label for one in answer.top} == {0, 1, 2}
    assert sum(one.probability for one in answer.top) == pytest.approx(1)


def test_of_equal_classes_the_first_leads(ensemble, folder, monkeypatch):
    whole = ensemble.predict

    def level(decoded):
        found = whole(decoded)
        found.probabilities[:] = np.float32(1 / 3)
        return found

    monkeypatch.setattr(ensemble, "predict", level)
    files = file_predictions.list_images([str(folder)])[:1]
    (answer,) = file_predictions.answers(ensemble, files, top_k=3)
    assert [one.label for one in answer.top] == [0, 1, 2]


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / ".hidden.png").write_bytes(b"")
    with pytest.raises(ValueError, match="no files in"):
        file_predictions.list_images([str(tmp_path)])


def test_a_name_cannot_command_the_terminal(ensemble, tmp_path):
    name = b"\x1b[31mred\n\xff\xe2\x80\xae.png"  # Colors, lines, direction of writing.
    path = tmp_path.as_posix().encode() + b"/" + name
    with open(path, "wb") as file:
        file.write(random_images(1)[0])
    files = file_predictions.list_images([str(tmp_path)])
    (answer,) = file_predictions.answers(ensemble, files, top_k=1)
    assert answer.status == "ok"
    first, *_ = file_predictions.tell(answer, width=3).splitlines()
    assert first == f"{tmp_path}/\\x1b[31mred\\n\\xff\\u202e.png"
    assert json.loads(file_predictions.to_json(answer))["file"] == answer.file


def test_ordinary_names_stay_as_they_are():
    for text in ("robin.jpg", "a b/Käfer, 蝶.png", "~$&'\"\\"):
        assert file_predictions.printable(text) == text


def test_an_answer_as_table_and_as_json():
    top = (TopClass(1, "robin", 0.97314), TopClass(0, "wren\t", 0.02))
    good = Answer("a.jpg", "ok", "", top)
    assert file_predictions.tell(good, width=7).splitlines() == [
        "a.jpg",
        "    1  robin     97.31%",
        "    2  wren\\t     2.00%",
    ]
    assert json.loads(file_predictions.to_json(good)) == {
        "file": "a.jpg",
        "status": "ok",
        "top": [
            {"label": 1, "class_name": "robin", "probability": 0.97314},
            {"label": 0, "class_name": "wren\t", "probability": 0.02},
        ],
    }
    bad = Answer("b.jpg", "empty", "no bytes", ())
    assert file_predictions.tell(bad, width=7) == "b.jpg\n  empty: no bytes"
    assert json.loads(file_predictions.to_json(bad)) == {
        "file": "b.jpg",
        "status": "empty",
        "error": "no bytes",
    }
