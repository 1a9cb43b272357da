"""What is in the directory of a run, without training one."""

import json
import pathlib

import pyarrow.parquet as pq
import pytest

import noisy_student as ns
from tests import chain


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Directory of a run of one round with made-up predictions."""
    root = tmp_path_factory.mktemp("run")
    made = chain.make(root / "round-1", teachers=("0123abc", "4567def"))
    made.write()
    (root / "run.toml").write_text('output = "."\n')
    for number in (1, 2):
        (root / f"round-{number}" / "student").mkdir(parents=True)
    (root / "round-1" / "student" / "COMPLETED").write_text("{}")
    for index in (1, 2, 3):  # The run once had a third member.
        (root / "round-1" / "teacher" / f"member-{index}").mkdir(parents=True)
    (root / "report.json").write_text(json.dumps({"student_accuracy": 0.5}))
    return made


@pytest.fixture
def run(made):
    return ns.open_run(made.root.parent)


def rows(made):
    files = sorted(pathlib.Path(made.predictions).glob("predictions-*"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def test_predictions_are_all_rows_with_names(run, made):
    expected = rows(made)
    found = run.predictions.to_arrow()
    assert len(run.predictions) == len(expected) == found.num_rows
    assert found["key"].to_pylist() == [row["key"] for row in expected]
    names = [
        None if r["label"] is None else chain.CLASS_NAMES[r["label"]] for r in expected
    ]
    assert found["class"].to_pylist() == names


def test_hashes_of_64_bits_survive_pandas(run, made):
    pytest.importorskip("pandas")
    found = run.predictions.to_pandas(["perceptual_hash", "status"])
    is_ok = found["status"] == "ok"
    hashes = [int(value) for value in found["perceptual_hash"][is_ok]]
    assert hashes == [
        row["perceptual_hash"] for row in rows(made) if row["status"] == "ok"
    ]
    assert max(hashes) > 2**53  # Those that floats would round.


def test_the_funnel_counts_every_row(run, made):
    funnel = run.selection.funnel
    assert funnel.read == len(rows(made))
    assert funnel.records == funnel.unique_kept + funnel.copies


def test_tfds_opens_the_dataset(run):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(run.dataset)
    assert builder.info.splits["train"].num_examples == run.selection.funnel.records


def test_a_teacher_is_an_ensemble_then_the_last_student(run):
    names = [pathlib.Path(path).name for path in run.teacher.directories]
    assert names == ["member-1", "member-2"]
    assert run.round(2).teacher.directories == run.round(1).student.directories


def test_properties_are_those_of_the_last_round_with_a_complete_student(run):
    assert run.num_rounds == 1
    assert run.predictions.directory == run.round(1).predictions.directory


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_round_that_there_is_not_is_refused(run, number):
    with pytest.raises(ValueError, match=f"which has 2, got {number}"):
        run.round(number)


def test_figures_of_the_report(run):
    assert run.report == {"student_accuracy": 0.5}


def test_a_run_without_a_report_says_how_to_go_on(tmp_path):
    (tmp_path / "run.toml").write_text('output = "."\n')
    with pytest.raises(FileNotFoundError, match=r"`noisy-student run .* goes on"):
        _ = ns.open_run(tmp_path).report


@pytest.mark.parametrize(
    "wrong", [{"settings": "teacher.preset=tiny"}, {"until": "all"}, {"number": 0}]
)
def test_wrong_options_are_refused_before_work(tmp_path, wrong):
    with pytest.raises(ValueError, match="expected"):
        ns.run(output=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run\.toml"):
        ns.open_run(tmp_path)
