"""A run whose teacher has pretrained features, on pictures told apart by color."""

import json
import os
import shutil

import numpy as np
import pytest

from stage.calibration_files import OUT_OF_FOLD
from tests.classifier.features import onnx_models
from tests.commands import run
from tests.images import encode, write_folder
from tests.test_end_to_end import QUICK

COLORS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


def draw(rng, labels):
    """Pictures of 40 px, each of one color with noise."""
    noise = rng.normal(scale=25.0, size=(len(labels), 40, 40, 3))
    pixels = np.clip(COLORS[labels][:, None, None] + noise, 0, 255)
    return [encode(each) for each in pixels.astype(np.uint8)]


@pytest.fixture
def report(tmp_path):
    """Returns a function that makes what is to do of a run; what it printed."""
    rng = np.random.default_rng(3)
    for name, of_class in (("labeled", 12), ("test", 10)):
        labels = np.repeat(np.arange(3), of_class)
        write_folder(tmp_path / name, draw(rng, labels), labels)
    write_folder(tmp_path / "all", draw(rng, rng.integers(3, size=90)))
    onnx_models.write(tmp_path / "my network.onnx")
    settings = (
        f"data.labeled=folder:{tmp_path}/labeled",
        f"data.unlabeled=folder:{tmp_path}/all",
        f"data.evaluation=folder:{tmp_path}/test",
        f"teacher.features=onnx:{tmp_path}/my network.onnx",
        *(f"student.settings.{word.removeprefix('--set=')}" for word in QUICK),
        *("labeling.engine=onnxruntime", "labeling.dtype=float32"),
    )
    given = [f"--set={setting}" for setting in settings]
    return lambda: run("workflow", "run", f"--output={tmp_path}/run", *given)


@pytest.mark.slow
def test_a_probe_teaches_a_student(report, tmp_path):
    root = tmp_path / "run"
    printed = report()
    chosen = json.loads((root / "choice" / "choice.json").read_text())["choice"]
    assert printed.count("run/choice: ") == len(chosen["reasons"]) == 5
    assert chosen["features"].endswith("my network.onnx")
    figures = json.loads((root / "report.json").read_text())
    assert figures["teacher_accuracy"] > 0.9
    assert "labels and pretrained features" in printed
    assert figures["compute"]["control"] >= figures["compute"]["chain"] > 0
    assert not figures["compute"]["uncounted"]
    calibration = root / "round-1" / "teacher" / "member-1" / "calibration"
    assert OUT_OF_FOLD in (calibration / "config.json").read_text()
    selection = json.loads((root / "round-1/selection/selection.json").read_text())
    assert selection["settings"]["thresholds"]["rule"] == "target_precision"
    assert selection["funnel"]["unique_kept"] > 45
    # Nothing is left to do, and nothing is chosen again.
    shutil.move(tmp_path / "my network.onnx", tmp_path / "elsewhere.onnx")
    assert "choice: " not in report()
    assert os.path.exists(root / "report.html")
