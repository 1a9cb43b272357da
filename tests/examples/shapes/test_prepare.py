import collections

import numpy as np

from examples.image_folders import writing
from examples.shapes import prepare
from stage import artifact
from tests.commands import call
from tests.examples.image_folders.test_writing import read_truth


def test_the_counts_are_uneven_and_add_up():
    counts = prepare.class_counts(seed=1)
    assert len(counts) == len(prepare.CLASS_NAMES)
    assert sum(counts) == prepare.UNLABELED - prepare.NO_OBJECT
    assert 2.9 < max(counts) / min(counts) < 3.1
    assert prepare.class_counts(seed=2) != counts
    assert np.allclose(sorted(prepare.class_counts(seed=2)), sorted(counts), atol=1)


def test_the_folders_hold_what_was_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "TEST", 1)
    monkeypatch.setattr(prepare, "UNLABELED", 30)
    monkeypatch.setattr(prepare, "NO_OBJECT", 4)
    directory = tmp_path / "shapes"
    process = call("examples.shapes.prepare", f"--output={directory}", "--seed=3")
    assert process.returncode == 0, process.stderr
    assert artifact.is_complete(directory)
    assert len(list(directory.glob("labeled/*/*.jpg"))) == 250
    assert len(list(directory.glob("test/*/*.jpg"))) == 10
    truth = collections.Counter(read_truth(directory).values())
    assert truth[writing.NO_CLASS] == 4
    assert tuple(truth[name] for name in prepare.CLASS_NAMES) == prepare.class_counts(
        seed=3
    )
