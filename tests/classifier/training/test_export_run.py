import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from classifier.export.facts import CLASSIFIER, Evaluation, read_facts
from classifier.export.saved_classifier import load_network
from classifier.models import flops
from classifier.models.factory import named_variables
from classifier.training import export_run, trainer
from classifier.training.checkpoint import Checkpoints
from stage import artifact
from tests.conftest import CLASS_NAMES
from tests.json_files import read_json

EVALUATION = Evaluation(num_examples=8, num_correct=6, cross_entropy=0.25)


@pytest.fixture
def workdir(tmp_path, config):
    description = {
        "config": dataclasses.asdict(config),
        "class_names": CLASS_NAMES,
        "left_out": {"folds": 2, "fold": 1},
    }
    artifact.start_or_resume(tmp_path, description)
    return tmp_path


def test_the_averages_of_the_newest_checkpoint_are_exported(workdir, config):
    rng = np.random.default_rng(0)
    model = trainer.build(config, num_classes=len(CLASS_NAMES))
    checkpoints = Checkpoints(workdir / "checkpoints", keep=2)
    for step in (1, 2):
        state = {}
        for name, variable in named_variables(model).items():
            state[f"ema/{name}"] = rng.random(variable.shape, np.float32)
            state[f"model/{name}"] = rng.random(variable.shape, np.float32)
        checkpoints.save(step, state)
    export_run.export_run(workdir, EVALUATION)
    exported = named_variables(load_network(workdir / "model.keras"))
    weights = {name for name in exported if "seed" not in name}
    assert len(weights) > 50
    for name in weights:
        np.testing.assert_array_equal(exported[name], state[f"ema/{name}"])
    facts = read_json(workdir / CLASSIFIER)
    assert facts["class_names"] == list(CLASS_NAMES)
    assert facts["evaluation"] == {**dataclasses.asdict(EVALUATION), "top1": 0.75}
    assert facts["left_out"] == {"folds": 2, "fold": 1}
    passes = 3 * config.num_steps * config.global_batch_size
    of_image = flops.count_multiply_adds(model)
    assert read_facts(workdir).multiply_adds == passes * of_image
    assert read_facts(workdir).image_multiply_adds == of_image


def test_a_network_that_cannot_be_counted_is_exported(workdir, config, monkeypatch):
    model = trainer.build(config, num_classes=len(CLASS_NAMES))
    state = {f"ema/{n}": np.asarray(v) for n, v in named_variables(model).items()}
    Checkpoints(workdir / "checkpoints", keep=1).save(1, state)

    def refuse(model):
        raise ValueError("cannot count")

    monkeypatch.setattr(flops, "count_multiply_adds", refuse)
    export_run.export_run(workdir, EVALUATION)
    assert read_facts(workdir).multiply_adds is None


def test_a_run_without_a_checkpoint_is_refused(workdir):
    with pytest.raises(ValueError, match=str(workdir)):
        export_run.export_checkpoint(workdir, EVALUATION)


def test_another_backend_exports_in_a_process_of_its_own(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(export_run.keras.backend, "backend", lambda: "jax")
    ended = subprocess.CompletedProcess([], 0)

    def run(*args, **more):
        calls.append((args, more))
        return ended

    monkeypatch.setattr(export_run.subprocess, "run", run)
    export_run.export_run(tmp_path, EVALUATION)
    (((command,), more),) = calls
    assert command[:3] == [sys.executable, "-m", "classifier.export_checkpoint"]
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in command[3:])
    assert flags["workdir"] == str(tmp_path)
    assert Evaluation(**json.loads(flags["evaluation"])) == EVALUATION
    assert more["env"]["KERAS_BACKEND"] == "tensorflow"
    assert more["env"]["CUDA_VISIBLE_DEVICES"] == ""
    ended.returncode, ended.stderr = 1, "noise\nerror: the disk is full\n"
    with pytest.raises(OSError, match=f"{tmp_path}: the disk is full"):
        export_run.export_run(tmp_path, EVALUATION)
