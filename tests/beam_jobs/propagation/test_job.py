"""The job against brute force, in the commands' own process."""

import json

import numpy as np
import pytest

from tests.beam_jobs.propagation import sets
from tests.commands import call

SETTINGS = {"neighbors": 4, "alpha": 0.8, "blend": 0.5}


def propagate(predictions, labeled, output, **flags):
    given = {"predictions": predictions, "labeled": labeled, "output": output, **flags}
    flags = [f"--{name}={value}" for name, value in given.items()]
    return call("beam_jobs.propagate_labels", *flags)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("propagation")
    labeled = sets.write(root / "labeled", shards=1, seed=1, labeled=True)
    return sets.write(root / "predictions"), labeled


@pytest.fixture(scope="module")
def output(inputs, tmp_path_factory):
    output = tmp_path_factory.mktemp("propagated") / "new"
    assert propagate(*inputs, output, **SETTINGS).returncode == 0
    return output


def test_distributions_are_those_of_brute_force(inputs, output):
    expected = sets.expected(*inputs, **SETTINGS)
    found = [row for row in sets.read(output) if row["top_labels"]]
    assert len(found) == len(expected) == 54
    for row, distribution in zip(found, expected, strict=True):
        best = np.sort(distribution)[::-1][: sets.TOP_K]
        np.testing.assert_allclose(row["top_probabilities"], best, atol=2e-4)
        assert distribution[row["label"]] == pytest.approx(best[0], abs=2e-4)


def test_agreement_is_counted_and_decides_at_one_half(inputs, output):
    def blend_plainly(name, share):
        path = output.parent / name
        flags = {**SETTINGS, "blend": share, "settle": False}
        assert propagate(*inputs, path, **flags).returncode == 0
        return [row for row in sets.read(path) if row["top_labels"]]

    before = [row["label"] for row in sets.read(inputs[0]) if row["top_labels"]]
    spread = [row["label"] for row in blend_plainly("spread", 1)]
    same = np.equal(before, spread)
    counts = json.loads((output / "summary.json").read_text())["agreement"]
    assert counts == {"compared": 54, "same": same.sum()}
    assert 5 < same.sum() < 50
    settled = [row for row in sets.read(output) if row["top_labels"]]
    plain = blend_plainly("plain", SETTINGS["blend"])
    for is_same, row, other in zip(same, settled, plain, strict=True):
        assert row == other if is_same else row["confidence"] <= 0.5


def test_every_other_column_is_kept(inputs, output):
    changed = {"label", "confidence", "top_labels", "top_probabilities", "embedding"}
    before, after = (
        [{k: v for k, v in row.items() if k not in changed} for row in sets.read(path)]
        for path in (inputs[0], output)
    )
    assert after == before


def test_a_second_start_changes_nothing(inputs, output):
    before = sets.files(output)
    propagate(*inputs, output, **SETTINGS)
    assert sets.files(output) == before


def test_cells_do_not_depend_on_an_interruption(inputs, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for path in (whole, resumed):
        ended = propagate(*inputs, path, exact_images=10, **SETTINGS)
        assert ended.returncode == 0
    assert len(sets.read(whole)) == 60
    (resumed / "COMPLETED").unlink()
    sets.path_of(resumed, 1).unlink()
    propagate(*inputs, resumed, exact_images=10, **SETTINGS)
    assert sets.files(resumed) == sets.files(whole)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"embedding_size": 0}, "embeddings"),
        ({"teachers": ["another"]}, "teachers"),
        ({"class_names": list("fedcba")}, "class"),
        ({"labeled": False}, "labels"),
    ],
)
def test_labeled_images_that_do_not_fit(inputs, tmp_path, changes, word):
    labeled = sets.write(tmp_path / "labeled", **{"labeled": True, **changes})
    ended = propagate(inputs[0], labeled, tmp_path / "new")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert labeled in line
    assert word in line
    assert not (tmp_path / "new").exists()
