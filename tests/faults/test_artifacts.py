"""Faults of artifacts' JSON files, of checkpoints, and of directories in use."""

import contextlib
import json
import os
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifier.export.facts import read_facts
from classifier.training import metrics
from classifier.training.checkpoint import Checkpoints
from classifier.training.config import read_run
from classifier.training.journal import EVENTS
from pseudo_label.dataset import verify_selection
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection import precision, thresholds, what_if
from pseudo_label.selection.decision import open_selection, read_selection
from stage import artifact, preemption
from stage.calibration_files import CALIBRATION, CALIBRATION_ROWS, read_temperature
from tests import chain
from tests.classifier.training.events import read_events
from tests.classifier.training.fakes import FakeBackend, fit_fake, read_rows
from tests.classifier.training.test_journal import events_of
from tests.commands import call
from tests.faults import endings, page
from tests.faults.catalog import artifacts as catalog
from tests.images import random_images, write_folder
from tests.workflow.report import runs
from workflow import rounds
from workflow.report import write_report
from workflow.report.analysis import run_files, verdict

TEACHER = "ab" * 32
#: Files below the fixture's directory, and what reads each of them.
READERS = {
    "classifier/classifier.json": lambda root: read_facts(root / "classifier"),
    "classifier/config.json": lambda root: read_run(root / "classifier"),
    "predictions/config.json": lambda root: open_predictions(str(root / "predictions")),
    "selection/selection.json": lambda root: read_selection(root / "selection"),
    "selection/what_if.json": lambda root: what_if.read_table(root / "selection"),
    "dataset/config.json": lambda root: open_lineage(root),
    "dataset/inputs.json": lambda root: open_lineage(root),
    "calibration/calibration.json": lambda root: read_calibration(root),
    "thresholds.json": lambda root: read_thresholds(root),
    "run/round-1/teacher/evaluation/evaluation.json": lambda root: report(root),
    "run/control/classifier.json": lambda root: report(root),
    "run/control/config.json": lambda root: report(root),
    "run/control/COMPLETED": lambda root: report(root),
    "run/round-1/dataset/dataset_info.json": lambda root: report(root),
    "run/round-1/selection/selection.json": lambda root: report(root),
    "run/round-1/calibration/config.json": lambda root: accuracies(root),
    "run/round-1/calibration/calibration.json": lambda root: accuracies(root),
    "run/report.json": lambda root: compare(root),
}
#: Values of which each field of a file takes each.
VALUES = (None, True, -1, 0.5, 1e300, 2**62, 2**63, "", "x", [], [[]], {}, {"x": 1})


def open_lineage(root):
    return verify_selection.open_lineage(str(root / "dataset"))


def read_calibration(root):
    precision.read_calibration(root / "calibration")
    read_temperature(root / "calibration", teachers=[TEACHER])


def read_thresholds(root):
    path = str(root / "thresholds.json")
    thresholds.read_class_thresholds(path, ["a", "b"], default=None)


def report(root):
    verdict.make_report(root / "run")


def accuracies(root):
    rounds.read_accuracies(root / "run")


def compare(root):
    write_report.compare([root / "run"] * 2, root / "summary.json")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("artifacts")
    made = chain.make(root)
    made.write()
    write_what_if(root)
    artifact.write_json(root / "thresholds.json", {"a": 0.5, "b": 1})
    write_classifier(root / "classifier")
    write_calibration(root / "calibration")
    small = runs.Plan(class_names=runs.NAMES, images=30, shards=1, tested=20, tiles=1)
    run = runs.make(root / "run", small)
    for number in (1, 2):
        write_calibration(run / f"round-{number}" / "calibration")
    artifact.write_json(run / "report.json", verdict.make_report(run))
    return root


def write_classifier(directory):
    directory.mkdir()
    facts = {"class_names": ["a", "b"], "fingerprint": TEACHER, "temperature": 1.0}
    image = {"size": 64, "crop_fraction": 0.9, "min_crop_area": 0.1}
    left_out = {"folds": 2, "fold": 1, "labeled": {"fingerprint": "f"}}
    artifact.write_json(
        directory / "classifier.json", {**facts, "image": image, "left_out": left_out}
    )
    recipe = {"model": {"name": "resnet_rs_50"}, "image": image, "num_steps": 2000}
    recipe |= {"augment": {"operations": ["Rotate"]}, "optimizer": {"momentum": 0.5}}
    content = {"config": recipe, "class_names": ["a", "b"], "left_out": None}
    artifact.write_json(directory / "config.json", content)


def write_calibration(directory, **columns):
    artifact.start_or_resume(directory, {"kind": "held_out", "labeled": {"size": 3}})
    facts = {"schema_version": 1, "kind": "held_out", "teachers": [TEACHER]}
    facts |= {"temperature": 1.5, "accuracy": 0.5, "num_images": 3}
    artifact.write_json(directory / CALIBRATION, facts)
    rows = {"label": [0, 1, 2], "predicted": [0, 1, 1], "confidence": [0.9, 0.8, 0.7]}
    types = (pa.int32(), pa.int32(), pa.float32())
    arrays = [
        pa.array(values, kind)
        for values, kind in zip((rows | columns).values(), types, strict=True)
    ]
    table = pa.Table.from_arrays(arrays, list(rows))
    pq.write_table(table, directory / CALIBRATION_ROWS)
    artifact.complete(directory, seconds=0.0)


def write_what_if(root):
    estimate = precision.Precision(estimate=0.5, low=0.1, high=0.9, images=4, right=2)
    counts = {"records": 4, "unique": 3, "copies": 1, "empty_classes": 0}
    cell = what_if.WhatIfCell(
        confidence_threshold=0.5, images_per_class=3, precision=estimate, **counts
    )
    what_if.write_table(root / "selection", [cell])


@contextlib.contextmanager
def replaced(path, content):
    """Writes other bytes into a file, until the block ends."""
    before = path.read_bytes()
    try:
        path.write_bytes(content)
        yield
    finally:
        path.unlink()
        path.write_bytes(before)


def refusal(path, read):
    """Returns the message of the error that a reader must raise: one with the path."""
    with pytest.raises(ValueError) as error:
        read()
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 700
    return message


def spoil(path, fault):
    content = path.read_bytes()
    new = {
        "empty JSON file": b"",
        "truncated JSON file": content[: len(content) // 2],
        "JSON file in another encoding": content.decode().encode("utf-16"),
        "JSON file of 100,000 nested lists": b"[" * 100_000,
        "JSON file that repeats a key": b'{"again": 1, "again": 2}',
        "JSON file with NaN": b'{"x": NaN}',
        "JSON file with an infinite number": b'{"x": 1e400}',
        "JSON file with a number of 5,000 digits": b'{"x": ' + b"9" * 5000 + b"}",
        "JSON file that holds a list": b"[[]]",
    }
    if fault.name in new:
        path.write_bytes(new[fault.name])
    elif fault.name == "JSON file of 300 MB":
        os.truncate(path, 300_000_000)
    else:
        assert fault.name == "named pipe in place of a JSON file"
        path.unlink()
        os.mkfifo(path)


@pytest.mark.parametrize("file", READERS)
@page.holds(*(fault.name for fault in catalog.BROKEN_JSON))
def test_a_broken_json_file(fault, file, root):
    assert fault.end == endings.REFUSED
    path = root / file
    READERS[file](root)
    with replaced(path, path.read_bytes()):
        spoil(path, fault)
        fault.check(refusal(path, lambda: READERS[file](root)))
    READERS[file](root)


def places_of(content, path=()):
    """Yields the path of every value inside a list or an object."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, inner in pairs:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places_of(inner, (*path, key))


def with_value(content, path, value):
    copied = json.loads(json.dumps(content))
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(copied).encode()


@pytest.mark.parametrize("file", READERS)
@page.holds("field of a JSON file with a wrong type or out of range")
def test_a_wrong_field(fault, file, root):
    """Each field takes each value; without it, too. It is read, or named."""
    assert fault.end == endings.REFUSED
    path, read = root / file, READERS[file]
    content = json.loads(path.read_text())
    refused = 0
    for place in places_of(content):
        for value in VALUES:
            with replaced(path, with_value(content, place, value)):
                try:
                    read(root)
                except (ValueError, FileNotFoundError) as error:
                    assert "\n" not in str(error), (place, value)
                    assert len(str(error)) < 1000, (place, value)
                    refused += 1
    assert refused > len(VALUES) / 2


@page.holds("selection with a field of a later version")
def test_a_field_of_a_later_version(fault, root):
    path = root / "selection" / "selection.json"
    content = json.loads(path.read_text())
    with replaced(path, with_value(content, ("classes", 0, "later"), 1)):
        fault.check(refusal(path, lambda: read_selection(root / "selection")))


@page.holds("selection with other classes than its predictions")
def test_a_selection_of_other_classes(fault, root):
    path = root / "selection" / "selection.json"
    content = json.loads(path.read_text())
    predictions = open_predictions(str(root / "predictions"))
    with replaced(path, with_value(content, ("classes",), content["classes"][:2])):
        fault.check(
            refusal(path, lambda: open_selection(str(path.parent), predictions))
        )


@page.holds("calibration with other classes than the teacher")
def test_a_calibration_of_other_classes(fault, tmp_path):
    write_calibration(tmp_path, predicted=[0, 7, 1])
    found = precision.read_calibration(tmp_path)
    with pytest.raises(ValueError) as error:
        precision.precision_above(found, np.full(3, 0.5, np.float32))
    fault.check(str(error.value))


@page.holds("calibration without a confidence")
def test_a_calibration_without_a_confidence(fault, tmp_path):
    for number, wrong in enumerate((None, float("nan"), 2.0)):
        directory = tmp_path / str(number)
        directory.mkdir()
        write_calibration(directory, confidence=[0.9, wrong, 0.7])
        path = directory / CALIBRATION_ROWS
        fault.check(refusal(path, lambda at=directory: precision.read_calibration(at)))


@page.holds("run directory that lacks a round")
def test_a_missing_round(fault, tmp_path):
    for number in (1, 3):
        (tmp_path / f"round-{number}" / "predictions").mkdir(parents=True)
    with pytest.raises(ValueError) as error:
        run_files.Run(tmp_path).rounds()
    fault.check(str(error.value))


# --- Directories in use ----------------------------------------------------------
def assert_in_use(fault, directory, *command):
    """Runs a command while another process seems to write to its output."""
    assert fault.end == endings.REFUSED
    with artifact.locked(directory):
        ended = call(*command)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(directory) in line
    assert list(directory.iterdir()) == []


@page.holds("two trainings in one directory")
def test_two_trainings(fault, tmp_path):
    write_folder(tmp_path / "in", random_images(6), [0, 1, 2] * 2)
    images = f"folder:{tmp_path}/in"
    assert_in_use(
        fault,
        tmp_path / "work",
        "teacher.train",
        f"--labeled={images}",
        f"--evaluation={images}",
        f"--workdir={tmp_path}/work",
        *("--set=num_steps=2", "--set=global_batch_size=2"),
        *("--set=optimizer.warmup_steps=0", "--set=model.width_multiplier=0.0625"),
    )


@page.holds("two commands that make the same artifact")
def test_two_commands(fault, place):
    write_folder(place.root / "labeled", random_images(3), [0, 1, 2])
    images = f"folder:{place.root}/labeled"
    inputs = (f"--teacher={place.teacher}", f"--output={place.root}/made")
    for module, flag in (("evaluate", "evaluation"), ("calibrate", "held_out")):
        assert_in_use(
            fault,
            place.root / "made",
            f"teacher.{module}",
            *inputs,
            f"--{flag}={images}",
        )
    inputs = (f"--student={place.teacher}", f"--output={place.root}/made")
    assert_in_use(
        fault,
        place.root / "made",
        "student.evaluate",
        *inputs,
        f"--evaluation={images}",
    )


@page.holds("artifact that another command completes meanwhile")
def test_an_artifact_made_meanwhile(fault, tmp_path):
    assert fault.end == endings.CONTINUES
    for is_made in (False, True):
        with artifact.making(tmp_path, {"a": 1}, started=time.monotonic()) as run:
            assert (run is None) == is_made
    with (
        pytest.raises(RuntimeError),
        artifact.making(tmp_path / "b", {}, started=0.0),
    ):
        raise RuntimeError("the work failed")
    assert not artifact.is_complete(tmp_path / "b")


# --- Training --------------------------------------------------------------------
SHORT = {"log_every": 1, "checkpoint_every": 2, "checkpoints_to_keep": 3}


def kill_at(workdir, step):
    """Trains until a step is reached, at which the state is not finite."""
    with pytest.raises(FloatingPointError):
        fit_fake(workdir, FakeBackend(poisoned_at=step), **SHORT)
    return Checkpoints(workdir / "checkpoints", keep=3)


@page.holds(
    "empty newest checkpoint",
    "truncated newest checkpoint",
    "damaged newest checkpoint",
)
def test_a_broken_newest_checkpoint(fault, tmp_path):
    assert fault.end == endings.CONTINUES
    path = kill_at(tmp_path, 8).path(6)
    content = path.read_bytes()
    middle = len(content) // 2
    spoiled = {
        "empty": b"",
        "truncated": content[:middle],
        "damaged": content[: middle - 9] + bytes(18) + content[middle + 9 :],
    }
    path.write_bytes(spoiled[fault.name.split()[0]])
    lines = fit_fake(tmp_path, FakeBackend(), **SHORT)
    assert str(path) in lines[0]
    assert lines[1] == "resuming at step 4"
    steps = [row["step"] for row in read_rows(tmp_path) if "train/loss" in row]
    assert steps == list(range(1, 13))


@page.holds("no readable checkpoint")
def test_no_readable_checkpoint(fault, tmp_path):
    assert fault.end == endings.CONTINUES
    checkpoints = kill_at(tmp_path, 8)
    for step in checkpoints.steps():
        checkpoints.path(step).write_bytes(b"")
    lines = fit_fake(tmp_path, FakeBackend(), **SHORT)
    assert not any("resuming" in line for line in lines)
    steps = [row["step"] for row in read_rows(tmp_path) if "train/loss" in row]
    assert steps == list(range(1, 13))


@page.holds("metrics.jsonl with an incomplete last line")
def test_metrics_that_are_cut_off(fault, tmp_path):
    assert fault.end == endings.CONTINUES
    kill_at(tmp_path, 8)
    path = tmp_path / metrics.METRICS
    for tail in (b'{"step": 7, "tra', b"\0\0\0\0", b"{}"):
        path.write_bytes(path.read_bytes() + tail)
        assert [row.step for row in metrics.read(tmp_path)] == list(range(1, 9))
        path.write_bytes(path.read_bytes().removesuffix(tail))
    fit_fake(tmp_path, FakeBackend(), **SHORT)
    assert [row["step"] for row in read_rows(tmp_path)][:12] == list(range(1, 13))


@page.holds("malformed line in metrics.jsonl")
def test_a_broken_line_of_metrics(fault, tmp_path):
    assert fault.end == endings.FAILED
    kill_at(tmp_path, 8)
    path = tmp_path / metrics.METRICS
    content = path.read_text()
    for line in ('{"train/loss": 1}', '{"step": 1, "train/loss": "x"}', "train/loss"):
        path.write_text(f"{line}\n{content}")
        message = refusal(path, lambda: fit_fake(tmp_path, FakeBackend(), **SHORT))
        assert "metrics.jsonl, line 1" in message
    path.write_text('{"step": 1, "train/loss": "x"}\n' + content)
    fault.check(refusal(path, lambda: run_files.read_metrics(tmp_path)))


@page.holds("training killed")
def test_events_of_a_training_that_is_killed(fault, tmp_path):
    assert fault.end == endings.RESUMABLE
    for step in (4, 8):
        kill_at(tmp_path, step)
    fit_fake(tmp_path, FakeBackend(), **SHORT)
    assert read_events(tmp_path / EVENTS) == events_of(read_rows(tmp_path))
    steps = [row["step"] for row in read_rows(tmp_path) if "train/loss" in row]
    assert steps == list(range(1, 13))


@page.holds("training killed while `--profile` records")
def test_the_trace_of_a_training_that_is_killed(fault, tmp_path):
    assert fault.end == endings.RESUMABLE

    class Tracing(FakeBackend):
        def start_trace(self, directory):
            os.makedirs(directory)

        def mark(self, step):
            return contextlib.nullcontext()

        def stop_trace(self):
            pass

    for backend in (Tracing(poisoned_at=8), Tracing()):
        with contextlib.suppress(FloatingPointError):
            fit_fake(tmp_path, backend, profile=True, num_steps=30, checkpoint_every=2)
    assert (tmp_path / "profile").is_dir()


@page.holds("Ctrl-C during training")
def test_ctrl_c_in_training(fault, tmp_path):
    assert fault.end == endings.RESUMABLE

    class Interrupted(FakeBackend):
        def train_step(self, batch):
            if self.step == 4:
                for _ in range(self.times):
                    signal.raise_signal(signal.SIGINT)
            return super().train_step(batch)

    backend = Interrupted()
    backend.times = 2
    with pytest.raises(KeyboardInterrupt):
        fit_fake(tmp_path / "twice", backend)
    backend = Interrupted()
    backend.times = 1
    with pytest.raises(preemption.PreemptedError) as notice:
        fit_fake(tmp_path, backend)
    fault.check(str(notice.value))
    assert notice.value.status == preemption.INTERRUPTED == 130
    assert Checkpoints(tmp_path / "checkpoints", keep=1).steps() == [5]
    assert "resuming at step 5" in fit_fake(tmp_path, FakeBackend())[0]
