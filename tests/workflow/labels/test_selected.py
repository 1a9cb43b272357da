import pytest

from stage import artifact
from tests import chain
from workflow.labels import selected


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"), dropped={1: [2]})


def test_all_records_of_the_selection_are_decided_about(made):
    labels = selected.open_selected(made.predictions, made.selection)
    decisions = list(map(labels.decide, range(labels.predictions.num_shards)))
    assert all(rows.num_rows == len(copies) for rows, copies in decisions)
    funnel = labels.selection.funnel
    assert sum(len(copies) for _, copies in decisions) == labels.predictions.num_images
    assert sum((copies > 0).sum() for _, copies in decisions) == funnel.unique_kept
    assert sum(copies.sum() for _, copies in decisions) == funnel.records
    assert decisions[1][1][2] == 0


def test_a_selection_of_other_predictions_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr(chain, "CLASS_NAMES", ("x", "y", "z"))
    other = chain.make(tmp_path)
    with pytest.raises(ValueError, match="other predictions"):
        selected.open_selected(made.predictions, other.selection)


@pytest.mark.parametrize("make", ["touch", "mkdir"])
def test_an_output_that_is_there_is_kept(tmp_path, make):
    output = tmp_path / "labels.csv"
    selected.check_new(str(output))
    getattr(output, make)()
    with pytest.raises(ValueError, match=r"labels\.csv already exists"):
        selected.check_new(str(output))
    assert artifact.reach(output).exists()
