import pytest

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
    config = read_run(str(tmp_path / "birds"))
    assert config.output == f"{tmp_path}/birds-run"
    assert config.data.labeled == f"{tmp_path}/birds"


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
