import os

import pytest

from classifier.data import listing
from workflow.commands import beginning
from workflow.run_file.config import RunConfig
from workflow.run_file.reading import read_run


def add(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (
            ["labeled/a/1.png", "test/a/1.png", "all/1.png"],
            {"labeled": "labeled", "evaluation": "test", "unlabeled": "all"},
        ),
        (
            ["Train/a/1.png", "val/a/1.png", "calibration/a/1.png"],
            {"labeled": "Train", "evaluation": "val", "calibration": "calibration"},
        ),
        (["a/1.png", "b/2.JPG", "notes.txt"], {"labeled": "."}),
        (["a/1.png", "b/2.txt"], {}),
        (["1.png"], {}),
        ([], {}),
    ],
)
def test_sub_folders_are_known_by_their_names(tmp_path, names, found):
    add(tmp_path, *names)
    assert beginning.find_sources(tmp_path) == found


def test_a_run_file_names_what_was_found(tmp_path):
    add(tmp_path / "birds", "labeled/a/1.png", "all/1.png")
    lines = list(beginning.write(str(tmp_path / "birds"), force=False))
    assert "data.labeled = labeled" in lines
    assert any("held out" in line for line in lines)
    assert lines[-1].endswith(f"noisy-student run {tmp_path}/birds/run.toml")
    config = read_run(str(tmp_path / "birds"))
    assert config.output == f"{tmp_path}/birds/run"
    assert config.data.labeled == f"{tmp_path}/birds/labeled"
    assert config.data.unlabeled == f"{tmp_path}/birds/all"
    assert config.is_split
    assert config.teacher == RunConfig().teacher


def test_the_output_is_outside_of_a_folder_of_classes(tmp_path):
    add(tmp_path / "birds", "a/1.png", "b/2.png")
    list(beginning.write(str(tmp_path / "birds"), force=False))
    config = read_run(str(tmp_path / "birds.toml"))
    assert config.output == f"{tmp_path}/birds-run"
    assert config.data.labeled == f"{tmp_path}/birds"


@pytest.mark.parametrize("folder", ["birds", "birds/", ".", "../birds", "a/.."])
def test_nothing_is_written_into_a_folder_of_classes(tmp_path, monkeypatch, folder):
    """It would be an image without a class."""
    add(tmp_path / "birds", "a/1.png", "b/2.png")
    inside = folder.startswith(".") or ".." in folder
    monkeypatch.chdir(tmp_path / "birds" if inside else tmp_path)
    *_, last = beginning.write(folder, force=False)
    config = read_run(last.rpartition(" ")[2])
    assert os.path.abspath(config.data.labeled) == f"{tmp_path}/birds"
    files = listing.list_folder(config.data.labeled)
    assert [file.name for file in files] == ["a/1.png", "b/2.png"]
    with pytest.raises(ValueError, match="--force"):
        list(beginning.write(folder, force=False))


@pytest.mark.parametrize(
    ("names", "has_labels", "lines"),
    [
        (["a/1.png", "b/2.JPG"], True, ["images: 2; classes: 2"]),
        (["1.png", ".hidden"], False, ["images: 1"]),
        (
            ["a/1.png", "Thumbs.db", "notes.txt", ".DS_Store"],
            True,
            ["images: 1; classes: 1", "deeper: Thumbs.db and 1 more; delete"],
        ),
        (["a/b/1.png"], True, ["images: 0; classes: 0", "deeper: a/b/1.png; delete"]),
        (
            ["a/1.png", "a/Thumbs.db", "a/.DS_Store"],
            True,
            ["images: 1; classes: 1", "no image by its name: a/Thumbs.db; training"],
        ),
        (
            ["1.png", "x/notes.txt"],
            False,
            ["images: 1", "no image by its name: x/notes.txt; labeling"],
        ),
    ],
)
def test_every_file_is_accounted_for(tmp_path, names, has_labels, lines):
    add(tmp_path, *names)
    told = list(beginning.describe_files(tmp_path, has_labels=has_labels))
    assert len(told) == len(lines)
    assert all(words in line for words, line in zip(lines, told, strict=True))


def test_a_run_file_is_not_replaced_unasked(tmp_path):
    add(tmp_path, "run.toml")
    with pytest.raises(ValueError, match="--force"):
        list(beginning.write(str(tmp_path), force=False))
    assert (tmp_path / "run.toml").read_text() == "run.toml"
    list(beginning.write(str(tmp_path), force=True))
    assert read_run(str(tmp_path)).output == f"{tmp_path}/run"


def test_there_may_be_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        list(beginning.write(str(tmp_path / "nothing"), force=False))


def test_names_of_folders_are_shown_printable(tmp_path):
    add(tmp_path, "x\x1b/labeled/a/1.png")
    lines = list(beginning.write(str(tmp_path / "x\x1b"), force=False))
    assert read_run(str(tmp_path / "x\x1b")).data.labeled.endswith("x\x1b/labeled")
    assert "data.labeled = labeled" in lines


def test_the_next_command_may_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    add(tmp_path, "-a b/labeled/a/1.png")
    *_, last = beginning.write("./-a b", force=False)
    assert last.endswith("next: noisy-student run './-a b/run.toml'")
