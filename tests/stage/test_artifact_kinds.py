import re

import pytest

from stage import artifact, shard_list

MARK = artifact.COMPLETED


def make(directory, *files):
    """Writes empty files, `COMPLETED` among them."""
    for name in (*files, MARK):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return directory


@pytest.fixture
def run(tmp_path):
    """A run of one round, with a classifier inside another one's directory."""
    make(tmp_path / "control", "classifier.json")
    make(tmp_path / "round-1" / "predictions", shard_list.NAME)
    make(tmp_path / "round-1" / "selection", "selection.json")
    make(tmp_path / "round-1" / "dataset", "dataset_info.json")
    student = make(tmp_path / "round-1" / "student", "classifier.json")
    make(student / "export" / "inner", "classifier.json")
    make(student / "calibration", "calibration.json")
    return tmp_path


def refusal(path, what):
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        artifact.require_complete(path, what)
    return str(error.value)


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("classifier", ["control", "round-1/student"]),
        ("init_from", ["control", "round-1/student"]),
        ("predictions", ["round-1/predictions"]),
        ("selection", ["round-1/selection"]),
        ("pseudo_labeled", ["round-1/dataset"]),
    ],
)
def test_a_directory_above_names_those_of_the_kind(run, what, named):
    message = refusal(run, what)
    found = re.findall(rf"{run}/([\w/-]+)", message)
    assert found == named
    assert message.startswith(f"{what}:")


def test_predictions_of_earlier_versions_are_named_too(tmp_path):
    made = make(tmp_path / "old", shard_list.FORMER_NAME)
    assert refusal(tmp_path, "predictions").endswith(str(made))


def test_a_file_names_the_directory_it_is_in(run):
    student = run / "round-1" / "student"
    for file in (student / "classifier.json", student / "export" / "weights"):
        file.write_text("")
        assert refusal(file, "classifier").endswith(str(student))


def test_a_file_elsewhere_names_no_directory(run):
    file = run / "round-1" / "selection" / "selection.json"
    message = refusal(file, "predictions")
    assert "file" in message
    assert not message.endswith("selection")


def test_what_was_begun_names_its_command_only(run):
    begun = run / "round-2"
    make(begun / "student", "classifier.json")
    (begun / "config.json").write_text("{}")
    assert "student" not in refusal(begun, "classifier")


def test_only_a_few_are_named_and_links_are_not_followed(tmp_path):
    for number in range(9):
        make(tmp_path / f"run-{number}", "classifier.json")
    (tmp_path / "again").symlink_to(tmp_path)
    message = refusal(tmp_path, "classifier")
    assert re.findall(r"run-(\d)", message) == ["0", "1", "2", "3", "4"]
    assert "others" in message


def test_nothing_below_is_said_too(tmp_path):
    assert MARK in refusal(tmp_path, "selection")
