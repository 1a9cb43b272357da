"""`classifier.json` is read without Keras or TensorFlow."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from classifier.data.config import ImageConfig
from classifier.export.facts import (
    CLASSIFIER,
    Evaluation,
    fingerprint,
    own_temperature,
    read_facts,
)
from tests import calibrations
from tests.commands import ROOT
from tests.conftest import CLASS_NAMES


def test_facts_are_read_without_keras_and_tensorflow():
    program = (
        "import sys, classifier.export.facts; "
        "sys.exit(not {'keras', 'tensorflow', 'jax'}.isdisjoint(sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_facts_name_classes_and_preprocessing(exported, exported_second):
    facts = [read_facts(d) for d, _ in (exported, exported_second)]
    written = json.loads((exported[0] / "classifier.json").read_text())
    assert facts[0].class_names == CLASS_NAMES
    assert dataclasses.asdict(facts[0].image) == written["image"]
    assert facts[0].image.size == 32
    assert written["evaluation"]["top1"] == 0.5
    assert facts[0].fingerprint != facts[1].fingerprint
    assert len(facts[0].fingerprint) == 64


def test_a_fingerprint_names_later_settings_only_where_they_differ():
    """Computed before `interpolation` and `antialias` were settings."""
    image = ImageConfig(size=32)
    weights = [np.arange(3, dtype=np.float32)]
    known = "7a8b2b48b34bf0eff068f939472f53d62965f226c8309cafb8388482b7af2925"
    assert fingerprint(image, ("a", "b"), weights) == known
    others = [
        dataclasses.replace(image, **change)
        for change in ({"interpolation": "bilinear"}, {"antialias": True}, {"size": 40})
    ]
    found = {fingerprint(other, ("a", "b"), weights) for other in others}
    assert len(found | {known}) == 4


def test_a_calibration_in_its_directory_gives_the_temperature(exported, tmp_path):
    def temperature(directory):
        return own_temperature(directory, read_facts(directory))

    content = json.loads((exported[0] / CLASSIFIER).read_text())
    for name, fingerprint_ in (("mine", "a" * 64), ("others", "b" * 64)):
        (tmp_path / name).mkdir()
        facts = {**content, "fingerprint": fingerprint_, "temperature": 2.0}
        (tmp_path / name / CLASSIFIER).write_text(json.dumps(facts))
        assert temperature(tmp_path / name) == 2.0
        calibrations.write_own(tmp_path / name, 0.5)
        assert temperature(tmp_path / name) == 0.5
    (tmp_path / "mine" / CLASSIFIER).write_text(json.dumps(facts))
    assert temperature(tmp_path / "mine") == 2.0  # That there is of the first one.


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path}.*classifier\.json"):
        read_facts(tmp_path)
    (tmp_path / CLASSIFIER).write_text("{")
    with pytest.raises(ValueError, match=r"classifier\.json"):
        read_facts(tmp_path)
    (tmp_path / CLASSIFIER).write_text(json.dumps({"class_names": ["a"]}))
    with pytest.raises(ValueError, match=r"classifier\.json: fingerprint"):
        read_facts(tmp_path)


def test_top1_is_the_share_of_correct_images():
    evaluation = Evaluation(num_examples=8, num_correct=6, cross_entropy=1.0)
    assert evaluation.top1 == 0.75
