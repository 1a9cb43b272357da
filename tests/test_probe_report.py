"""`make report FEATURES=`, on pictures that their colors tell apart."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from stage.calibration_files import OUT_OF_FOLD
from tests.classifier.features import onnx_models
from tests.commands import ENVIRONMENT, ROOT
from tests.images import encode, write_folder
from tests.test_end_to_end import QUICK

COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
STAMPS = ("demo", "onnx")


def draw(rng, labels):
    """Pictures of 40 px, each of one color with noise."""
    noise = rng.normal(scale=25.0, size=(len(labels), 40, 40, 3))
    pixels = np.clip(COLORS[labels][:, None, None] + noise, 0, 255)
    return [encode(each) for each in pixels.astype(np.uint8)]


@pytest.fixture
def make(tmp_path):
    """Returns a function that runs make, with this Python as what is installed."""
    rng = np.random.default_rng(3)
    for name, of_class in (("labeled", 12), ("test", 10)):
        labels = np.repeat(np.arange(3), of_class)
        write_folder(tmp_path / name, draw(rng, labels), labels)
    write_folder(tmp_path / "all", draw(rng, rng.integers(3, size=90)))
    onnx_models.write(tmp_path / "my network.onnx")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    for name in STAMPS:
        (venv / f"{name}-installed").touch()
    given = {
        "VENV": venv,
        "RUN": tmp_path / "run",
        "LABELED": f"folder:{tmp_path}/labeled",
        "IMAGES": f"folder:{tmp_path}/all",
        "EVALUATION": f"folder:{tmp_path}/test",
        "FEATURES": f"onnx:{tmp_path}/my network.onnx",
        "STUDENT_FLAGS": " ".join(QUICK),
        "LABELING_FLAGS": "--engine=onnxruntime --dtype=float32",
    }

    def make(*targets):
        ended = subprocess.run(
            ["make", *targets, *(f"{name}={value}" for name, value in given.items())],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return make


@pytest.mark.slow
def test_a_probe_teaches_a_student(make, tmp_path):
    run = tmp_path / "run"
    printed = make("report")
    chosen = json.loads((run / "choice" / "choice.json").read_text())["choice"]
    assert printed.count("run/choice: ") == len(chosen["reasons"]) == 5
    assert chosen["features"].endswith("my network.onnx")
    report = json.loads((run / "report.json").read_text())
    assert report["teacher_accuracy"] > 0.9
    assert "labels and pretrained features" in printed
    assert report["compute"]["control"] >= report["compute"]["chain"] > 0
    assert not report["compute"]["uncounted"]
    calibration = run / "round-1" / "teacher" / "member-1" / "calibration"
    assert OUT_OF_FOLD in (calibration / "config.json").read_text()
    selection = json.loads((run / "round-1/selection/selection.json").read_text())
    assert selection["settings"]["thresholds"]["rule"] == "target_precision"
    assert selection["funnel"]["unique_kept"] > 45
    # Nothing is left to do, and nothing is chosen again.
    shutil.move(tmp_path / "my network.onnx", tmp_path / "elsewhere.onnx")
    assert "choice: " not in make("report")
    assert os.path.exists(run / "report.html")
