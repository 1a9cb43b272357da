import json

import pytest

from classifier.data import excerpt
from tests import commands, tensorflow_bucket
from tests.images import random_images, write_folder, write_records


@pytest.fixture
def choose(tmp_path):
    """Returns a function that chooses for a run of a few images."""
    for name in ("labeled/a", "labeled/b", "all"):
        write_folder(tmp_path / name, random_images(3))

    def choose(**flags):
        given = {
            "labeled": f"folder:{tmp_path}/labeled",
            "images": f"folder:{tmp_path}/all",
            "output": f"{tmp_path}/run/choice",
            **flags,
        }
        return commands.call(
            "workflow.choose", *(f"--{name}={value}" for name, value in given.items())
        )

    return choose


def read(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_choice_is_stored_for_people_and_for_the_chain(choose, tmp_path):
    ended = choose(minutes=60)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) == 5
    assert "6 labels of 2 classes, 3 unlabeled" in lines[0]
    assert "rounds.minutes=60" in lines[0]
    directory = tmp_path / "run" / "choice"
    stored = json.loads((directory / "choice.json").read_text())
    assert stored["facts"]["minutes"] == 60
    assert [line.partition(": ")[2] for line in lines] == stored["choice"]["reasons"]
    assert stored["choice"]["features"] is None
    assert stored["choice"]["student"]["preset"] == "tiny"
    assert stored["choice"]["student"]["flags"] == []
    assert (directory / "COMPLETED").exists()


def test_a_choice_is_kept(choose, tmp_path):
    choose()
    before = read(tmp_path / "run" / "choice")
    ended = choose()
    assert (ended.returncode, ended.stdout) == (0, "")
    assert read(tmp_path / "run" / "choice") == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"labeled": "folder:/nowhere"}, "/nowhere"),
        ({"minutes": 0}, "--minutes"),
        ({"features": "onnx:/nowhere.onnx"}, "/nowhere.onnx"),
        ({"images": "x"}, "expected a source"),
    ],
)
def test_wrong_questions_leave_nothing(choose, tmp_path, flags, named):
    ended = choose(**flags)
    assert ended.returncode == 1
    assert named in ended.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_inside_its_images_is_refused(choose, tmp_path):
    ended = choose(output=f"{tmp_path}/all/run/choice")
    assert ended.returncode == 1
    assert "lies in --images=" in ended.stderr


def test_of_records_in_a_bucket_the_choice_says_about_how_many_there_are(
    choose, tmp_path, monkeypatch
):
    tensorflow_bucket.use(tmp_path, monkeypatch)
    monkeypatch.setattr(excerpt, "_MAX_BYTES", 2**16)
    write_records(tmp_path / "records", [bytes(1000)] * 130)
    ended = choose(images="tfrecord:gs://bucket/records")
    assert ended.returncode == 0, ended.stderr
    assert "6 labels of 2 classes, about 130 unlabeled" in ended.stdout
    stored = json.loads((tmp_path / "run" / "choice" / "choice.json").read_text())
    assert stored["facts"]["counts"]["estimated"] == ["unlabeled"]
