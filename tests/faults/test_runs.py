"""Settings of a run: what is wrong with them is found before any stage is begun."""

import json
import os
import pathlib
import sys

import pytest

from tests.faults import endings, page
from tests.images import random_images, write_folder
from workflow.chain.errors import StageError, StaleError
from workflow.commands import running
from workflow.run_file.reading import read_run

#: In place of Python: makes an empty artifact where the command would, or fails.
STAND_IN = """#!/bin/sh
echo "$2" >> calls
case "$*" in *"$FAILING"*) exit 1 ;; esac
for argument; do
  case "$argument" in
    --output=* | --workdir=*)
      directory=${argument#*=}
      mkdir -p "$directory"
      echo "{\\"made by\\": \\"$*\\"}" > "$directory/config.json"
      echo '{"seconds": 1}' > "$directory/COMPLETED" ;;
  esac
done
"""
SOURCES = ("labeled", "evaluation", "unlabeled", "calibration", "more")
GIVEN = ("teacher.preset=tiny", *(f"data.{name}=folder:{name}" for name in SOURCES[:3]))


class Run:
    """A run of the stages that a student needs, by commands that make nothing."""

    def __init__(self, root):
        self.root = root
        for name in SOURCES:
            write_folder(root / name / "a", random_images(2))

    def __call__(self, *assignments, until="student"):
        """Runs the chain; returns the commands that it called."""
        config = read_run(None, [*GIVEN, *assignments], output="run")
        (self.root / "calls").unlink(missing_ok=True)
        running.run(config, running.Options(until=until), lambda line: None)
        return self.calls

    @property
    def calls(self):
        """The commands that the last run has called."""
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def refused(self, fault, *assignments, until="student"):
        """Runs the chain, which must name the cause and call nothing."""
        assert fault.end == endings.REFUSED
        with pytest.raises((ValueError, OSError, StaleError)) as error:
            self(*assignments, until=until)
        fault.check(str(error.value))
        assert self.calls == []
        return str(error.value)


@pytest.fixture
def run(tmp_path, monkeypatch):
    stand_in = tmp_path / "python"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAILING", "nothing")
    monkeypatch.setattr(sys, "executable", str(stand_in))
    return Run(tmp_path)


# --- settings ------------------------------------------------------------------
@page.holds("unknown setting of a run file")
def test_an_unknown_setting(fault, run):
    run.refused(fault, "teacher.presett=tiny")
    (run.root / "run.toml").write_text('[teacher]\npresett = "tiny"\n')
    with pytest.raises(ValueError) as error:
        read_run("run.toml")
    fault.check(str(error.value))


@page.holds("setting of a run of another type")
def test_a_setting_of_another_type(fault, run):
    run.refused(fault, "rounds.seed=many")


@page.holds("setting of a run outside of its limits")
@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        *((f"rounds.seed={text}", "seed") for text in (-1, 1.5, 99999999999)),
        *((f"rounds.{name}=0", name) for name in ("count", "patience", "minutes")),
        ("rounds.count=21", "count"),
        *((f"teacher.folds={number}", "folds") for number in (-1, 1, 21)),
        ("teacher.members=21", "members"),
        ("teacher.consistency=maybe", "consistency"),
        *((f"labeling.neighbors={number}", "neighbors") for number in (-1, 1001)),
        *((f"selection.max_copies={number}", "max_copies") for number in (0, 1001)),
        *((f"selection.duplicate_bits={n}", "duplicate_bits") for n in (-2, 4)),
        ("selection.duplicate_similarity=95", "duplicate_similarity"),
        *((f"selection.target_precision={n}", "target_precision") for n in (97, -0.5)),
        ("selection.confidence_threshold=1.01", "confidence_threshold"),
        ("selection.images_per_class=-1", "images_per_class"),
        ("runner.name=spark", "name"),
        ("runner.dataflow.max_hours=0", "max_hours"),
    ],
)
def test_settings_outside_of_their_limits(fault, run, assignment, named):
    assert named in run.refused(fault, assignment)


def test_settings_at_their_limits(run):
    for assignments in (
        ["rounds.seed=0", "teacher.folds=20", "selection.target_precision=1"],
        ["labeling.neighbors=1000", "selection.max_copies=1000", "teacher.members=20"],
        ["selection.duplicate_bits=3", "selection.duplicate_similarity=0.95"],
        ["selection.confidence_threshold=0", "rounds.count=20"],
    ):
        read_run(None, [*GIVEN, *assignments], output="run")


@page.holds("run file that is no TOML")
@pytest.mark.parametrize("content", ["[teacher\n", "a = \n", "\0", '{"a": 1}'])
def test_a_run_file_that_is_no_toml(fault, run, content):
    assert fault.end == endings.REFUSED
    (run.root / "run.toml").write_text(content)
    with pytest.raises(ValueError) as error:
        read_run("run.toml")
    fault.check(str(error.value))


@page.holds("more than 20 sources in data.exclude")
def test_many_sources_to_exclude(fault, run):
    sources = json.dumps([f"folder:{index}" for index in range(21)])
    run.refused(fault, f"data.exclude={sources}")


@page.holds("labeling.neighbors with a calibration")
@pytest.mark.parametrize(
    "given",
    [
        *("teacher.folds=3", "data.calibration=folder:calibration"),
        "teacher.features=onnx:x",
    ],
)
def test_neighbors_with_a_calibration(fault, run, given):
    run.refused(fault, given, "labeling.neighbors=10")
    read_run(None, [*GIVEN, given, "labeling.neighbors=0"], output="run")


@page.holds("teacher.features with settings of a network")
@pytest.mark.parametrize("given", ["folds=3", "members=2", "consistency=on"])
def test_a_probe_is_no_network(fault, run, given):
    run.refused(fault, "teacher.features=onnx:x", f"teacher.{given}")


@page.holds("preset, setting or flag of a later stage that there is not")
@pytest.mark.parametrize(
    "given",
    [
        *("teacher.preset=tyni", "student.preset=tyni"),
        *('teacher.flags=["--xyz=1"]', 'student.flags=["--xyz=1"]'),
        *("student.settings.num_stepz=9", "student.settings.num_steps=many"),
        *("teacher.settings.image.size=large", 'selection.flags=["--whatif"]'),
        "student.settings.consistency.threshold=0.9",
    ],
)
def test_what_a_later_stage_refuses(fault, run, given):
    message = run.refused(fault, given)
    assert given.partition(".")[0] in message
    assert "\n" not in message


# --- images --------------------------------------------------------------------
@page.holds("run without the images that it needs")
@pytest.mark.parametrize("until", ["labels", "student", "control", "report"])
def test_labeled_images_alone(fault, run, until):
    run.refused(fault, "data.unlabeled=", until=until)
    assert run("data.unlabeled=", until="teacher") == ["teacher.train"]


@page.holds("images of a run that are not there")
@pytest.mark.parametrize("name", ["labeled", "evaluation", "unlabeled"])
def test_images_that_are_not_there(fault, run, name):
    message = run.refused(fault, f"data.{name}=folder:imgaes", until="teacher")
    assert f"data.{name}" in message and "imgaes" in message
    assert not (run.root / "run").exists()


@page.holds("directory of a run inside its images")
@pytest.mark.parametrize("name", ["labeled", "unlabeled"])
def test_a_run_lies_outside_of_its_images(fault, run, name):
    with pytest.raises(ValueError) as error:
        config = read_run(None, GIVEN, output=f"{name}/run")
        running.run(config, running.Options(until="teacher"), print)
    fault.check(str(error.value))
    assert not (run.root / name / "run").exists()


# --- a run that was begun ------------------------------------------------------
@page.holds("setting corrected after a failed first stage")
def test_settings_are_corrected_while_nothing_was_made(fault, run, monkeypatch):
    assert fault.end == endings.WORKS
    monkeypatch.setenv("FAILING", "teacher.train")
    with pytest.raises(StageError):
        run("data.labeled=folder:more", until="teacher")
    monkeypatch.setenv("FAILING", "nothing")
    assert run(until="teacher") == ["teacher.train"]
    (receipt,) = pathlib.Path("run/stages").glob("*member-1.json")
    assert f"folder:{run.root}/labeled" in receipt.read_text()


@page.holds("run with other settings than its stages were made by")
def test_other_settings_than_stages_were_made_by(fault, run):
    assert run()
    assert run() == []
    message = run.refused(fault, "selection.confidence_threshold=0.4")
    assert "teacher/member-1" not in message
    assert "0.4" in message


def move(folder):
    """Corrects the label of an image."""
    (folder / "b").mkdir()
    first = min((folder / "a").iterdir())
    first.rename(folder / "b" / first.name)


def touch(folder):
    os.utime(min((folder / "a").iterdir()), ns=(0, 1))


def grow(folder):
    with min((folder / "a").iterdir()).open("ab") as file:
        file.write(b"x")


def add(folder):
    (folder / "a" / "more.png").touch()


@page.holds("images or labels that changed since a run has read them")
@pytest.mark.parametrize("change", [move, touch, grow, add])
@pytest.mark.parametrize("name", SOURCES)
def test_images_that_changed(fault, run, change, name):
    given = ("data.calibration=folder:calibration", 'data.exclude=["folder:more"]')
    assert run(*given)
    assert run(*given) == []
    change(run.root / name)
    assert f"folder:{run.root}/{name}" in run.refused(fault, *given)


@page.holds("images or labels that changed since a run has read them")
@pytest.mark.parametrize("source", ["tfrecord:labeled/*/*.png", "tfds:labeled/a:x"])
def test_files_of_other_sources(fault, run, source):
    (run.root / "labeled" / "a" / "dataset_info.json").touch()
    given = f"data.labeled={source}"
    assert run(given, until="teacher")
    grow(run.root / "labeled")
    run.refused(fault, given, until="teacher")


def test_images_that_have_moved_are_the_same(run):
    assert run()
    (run.root / "labeled").rename(run.root / "moved")
    assert run("data.labeled=folder:moved") == []


@page.holds("run that make of an earlier version has begun")
def test_stages_of_an_earlier_version(fault, run):
    assert fault.end == endings.WORKS
    made = run()
    for path in (run.root / "run" / "stages").glob("*.json"):
        path.unlink()
    (run.root / "run" / "settings").write_text('{"variables": {}, "files": {}}')
    assert sorted(run()) == sorted(made)  # Which say that they are complete.
    assert run() == []


@page.holds("images that are gone when a finished run is reported on")
def test_a_report_reads_no_images(fault, tmp_path):
    """It fails for want of figures, not of images."""
    assert fault.end == endings.WORKS
    write_folder(tmp_path / "labeled" / "a", random_images(1))
    assignments = [f"data.labeled=folder:{tmp_path}/labeled"]
    config = read_run(None, assignments, output=str(tmp_path / "run"))
    messages = []
    for name in ("labeled", "moved"):
        with pytest.raises((ValueError, OSError)) as error:
            running.report(config.output, print)
        messages.append(str(error.value))
        if name == "labeled":
            (tmp_path / "labeled").rename(tmp_path / "moved")
    assert messages[0] == messages[1]
    assert "labeled" not in messages[1]
