import importlib
import pathlib

import pytest

from benchmarks.pretrained import chain
from benchmarks.pretrained.chain import ProbeTask
from tests.benchmarks.methods.made import DRAW


@pytest.fixture
def calls(monkeypatch):
    """The commands that were called, whose flags are parsed but not obeyed."""
    found = {}

    def call(module, *flags, log):
        *_, name = flags[: flags.index("--")] if "--" in flags else flags
        command = importlib.import_module(module)
        command.FLAGS.parse(["command", *flags])
        found[pathlib.Path(name.partition("=")[2]).name] = (module, flags)

    monkeypatch.setattr(chain, "call", call)
    return found


def test_every_artifact_is_made_by_its_command(calls, tmp_path):
    task = ProbeTask(draw=DRAW, features="onnx:f.onnx", seed=3, workdir=tmp_path)
    chain.run(task)
    assert {name: module for name, (module, _) in calls.items()} == {
        "teacher": "teacher.train",
        "probe": "teacher.probe",
        "predictions": "beam_jobs.label_images",
        "selection": "beam_jobs.select_labels",
        "dataset": "beam_jobs.write_records",
        "student": "student.train",
        "control": "student.train",
    }


def test_what_is_not_wanted_is_not_trained(calls, tmp_path):
    without = frozenset(chain.OPTIONAL)
    task = ProbeTask(
        draw=DRAW, features="onnx:f.onnx", seed=3, workdir=tmp_path, without=without
    )
    chain.run(task)
    assert set(calls) == {"probe", "predictions", "selection", "dataset", "student"}


def test_student_and_control_differ_in_what_they_learn_from_alone(calls, tmp_path):
    settings = ("image.size=64",)
    task = ProbeTask(
        draw=DRAW, features="onnx:f.onnx", seed=3, workdir=tmp_path, student=settings
    )
    chain.train_student(task)
    chain.train_control(task)
    student, control = (set(calls[name][1]) for name in ("student", "control"))
    assert "--set=image.size=64" in student & control
    assert {flag.partition("=")[0] for flag in control - student} == {
        *("--control", "--compute_of", "--seed", "--workdir")
    }
