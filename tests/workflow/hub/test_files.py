import json
import os
import pathlib
import shutil

import pytest

from classifier.export import model_card
from stage import artifact, licenses
from tests import calibrations, chain
from workflow.hub import files


@pytest.fixture
def classifier(exported, tmp_path):
    """A copy of a classifier with a card, and what training leaves beside it."""
    directory = shutil.copytree(exported[0], tmp_path / "student")
    licenses.write(directory, ())
    model_card.write(directory)
    for name in ("checkpoints", "events"):
        (directory / name).mkdir()
        (directory / name / "file").write_text("x")
    (directory / "notes.txt").write_text("what somebody has put here")
    (directory / ".env").write_text("HF_TOKEN=x")
    return directory


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = chain.make(tmp_path_factory.mktemp("chain"))
    found.write()
    return found


def plan(directory, kind="model", **more):
    return files.plan(kind, str(directory), "me/birds", **more)


def names(package):
    return [file.name for file in package.files]


def test_a_classifier_goes_with_what_it_consists_of(classifier):
    package = plan(classifier)
    found = names(package)
    assert {"COMPLETED", "README.md", "classifier.json", "config.json"} <= set(found)
    assert {"export/saved_model.pb", "licenses.json", "model.keras"} <= set(found)
    assert found == sorted(found)
    unwanted = ("checkpoints", "events", "notes", ".env")
    assert not any(name.startswith(unwanted) for name in found)
    first, *lines = package.describe()
    assert first.startswith(f"model repository me/birds: {len(found)} files, ")
    assert len(lines) == len(found)
    for file in package.files:
        assert len(file.read()) == file.size


def test_nothing_tells_of_the_machine(classifier, made):
    for package in (plan(classifier), plan(made.dataset, "dataset")):
        for file in package.files:
            content = file.read()
            for private in (str(classifier.parent), os.getcwd()):
                assert private.encode() not in content, file.name
        completed = {file.name: file for file in package.files}["COMPLETED"]
        assert json.loads(completed.read())["command"] == []


def test_sources_are_named_without_where_they_are(classifier, tmp_path, monkeypatch):
    """As they were given, inside of the working directory."""
    home = tmp_path / "home" / "me"
    (home / "projects" / "birds").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "projects")
    given = ["birds/all", str(home / "projects" / "birds"), str(home / "photos")]
    given.append("/data/secret/a/b")
    names = [licenses.public_name(f"folder:{path}") for path in given]
    ledger = [licenses.Origin(kind="images", name=name) for name in names]
    licenses.write(classifier, licenses.merge(ledger))
    package = plan(classifier)
    assert set(package.sources) == set(names)
    line = package.describe_sources()
    assert "folder:birds/all" in line and "folder:.../a/b" in line
    for file in package.files:
        for private in (str(home), "secret", str(tmp_path)):
            assert private.encode() not in file.read(), file.name


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("{directory}/x", True),
        ("folder:{directory}/x", True),
        (": {directory}/x.", True),
        ("...{directory}/x", False),
        ("https://arxiv.org/abs/1", False),
        ("/m/01g317", False),
        ("/no/such/directory", False),
        ("a /255 /1.5", False),
    ],
)
def test_a_text_with_a_directory_of_this_machine_is_refused(
    classifier, tmp_path_factory, text, is_path
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    name = text.format(directory=elsewhere)
    change(classifier / "licenses.json", origins=[{"kind": "images", "name": name}])
    if is_path:
        with pytest.raises(ValueError, match="a directory of this machine"):
            plan(classifier)
    else:
        plan(classifier)


def test_a_dataset_goes_without_the_paths_of_its_inputs(made):
    package = plan(made.dataset, "dataset")
    assert "inputs.json" not in names(package)
    assert len([name for name in names(package) if "tfrecord" in name]) == 6
    assert package.card == (made.dataset / "README.md").read_text()


def test_a_calibration_goes_without_its_images(classifier):
    calibrations.write_own(classifier, 4.25)
    rows = classifier / "calibration" / "calibration.parquet"
    rows.write_bytes(b"names of images")
    artifact.complete(classifier / "calibration", seconds=0.0)
    found = names(plan(classifier))
    assert "calibration/calibration.json" in found
    assert "calibration/COMPLETED" in found
    assert "calibration/calibration.parquet" not in found


def test_the_card_names_the_dataset_and_is_that_of_today(classifier):
    (classifier / "README.md").write_text("of an earlier version")
    package = plan(classifier, datasets=["me/birds"])
    assert 'datasets: ["me/birds"]' in package.card
    assert package.card.startswith("---\n")


def test_further_files_go_beside_it(classifier, tmp_path):
    more = tmp_path / "student.onnx"
    more.write_bytes(b"onnx")
    package = plan(classifier, more=[str(more)])
    assert "student.onnx" in names(package)
    with pytest.raises(FileNotFoundError, match="--file: no file"):
        plan(classifier, more=[str(tmp_path / "none")])
    (tmp_path / "config.json").touch()
    with pytest.raises(ValueError, match=r"another file 'config\.json'"):
        plan(classifier, more=[str(tmp_path / "config.json")])


def change(path, **fields):
    content = {**json.loads(path.read_text()), **fields}
    path.write_bytes(artifact.to_json(content))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: (path / "COMPLETED").unlink(), "is not complete"),
        (lambda path: (path / "model.keras").write_bytes(b""), "got 0"),
        (lambda path: change(path / "COMPLETED", files={}), "lists no files"),
        (lambda path: (path / "classifier.json").unlink(), "is no classifier"),
        (
            lambda path: change(
                path / "licenses.json",
                origins=[{"kind": "images", "name": f"folder:{path.parent}/x"}],
            ),
            "a directory of this machine",
        ),
        (
            lambda path: change(
                path / "licenses.json",
                origins=[{"kind": "images", "name": "hf_" + 34 * "a"}],
            ),
            "looks like a token",
        ),
    ],
)
def test_what_is_incomplete_or_private_is_refused(classifier, spoil, words):
    spoil(classifier)
    with pytest.raises(ValueError, match=words):
        plan(classifier)


def test_other_directories_are_refused(made):
    with pytest.raises(ValueError, match=r"is no dataset: no dataset_info\.json"):
        plan(made.predictions, "dataset")
    with pytest.raises(ValueError, match="is no classifier"):
        plan(made.dataset)
    with pytest.raises(ValueError, match="expected a local directory"):
        plan("gs://b/student")
    with pytest.raises(FileNotFoundError, match="no directory"):
        plan(pathlib.Path("/no/such"))
