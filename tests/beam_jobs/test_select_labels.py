"""How the flags reach the job, which is tested in selection/."""

import json

import pytest

from stage import artifact
from tests import chain
from tests.commands import call


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"))


def select(place, name, *flags):
    return call(
        "beam_jobs.select_labels",
        f"--predictions={place.predictions}",
        f"--output={place.root}/{name}",
        *flags,
        *("--", "--direct_num_workers=1"),
    )


def read_selection(directory):
    """Returns the selection, but for the keys that break ties: there are none."""
    selection = json.loads((directory / "selection.json").read_text())
    for rule in selection["classes"]:
        for name in ("cut_off", "extra_cut_off"):
            if rule[name]:
                rule[name]["key"] = None
    return selection


def test_the_selection_is_that_of_sorting_everything(place):
    flags = ("--confidence_threshold=0.5", "--images_per_class=9", "--max_copies=3")
    process = select(place, "selected", *flags, "--duplicate_bits=-1")
    assert process.returncode == 0, process.stderr
    found, expected = (
        read_selection(place.root / name) for name in ("selected", "selection")
    )
    assert found["classes"] == expected["classes"]
    assert found["funnel"] == expected["funnel"]
    assert artifact.is_complete(place.root / "selected")
    process = select(place, "selected", *flags, "--duplicate_bits=-1")
    assert "already complete" in process.stdout


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--target_precision=0.9",), "--calibration"),
        (("--max_copies=0",), "--max_copies"),
        (("--duplicate_bits=4",), "--duplicate_bits"),
        (("--exclude=/no/such", "--confidence_threshold=0.5"), "/no/such"),
    ],
)
def test_flags_that_do_not_fit_are_named(place, flags, named):
    process = select(place, "new", *flags)
    assert process.returncode == 1
    assert named in process.stderr
    assert not (place.root / "new").exists()
