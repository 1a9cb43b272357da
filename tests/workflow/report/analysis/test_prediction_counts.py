import numpy as np
import pyarrow.parquet as pq
import pytest
from etils import epath

from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.selection import what_if
from tests.pseudo_label.selection import selections
from tests.workflow.report import runs
from workflow.report.analysis import prediction_counts
from workflow.report.analysis.run_files import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    plan = runs.Plan(class_names=("a", "b", "c"), images=900)
    return Run(runs.make(tmp_path_factory.mktemp("survey"), plan))


def rows(run, number):
    """(label, confidence) of all images of a round, None without a prediction."""
    found = []
    for path in sorted((run.round(number) / "predictions").glob("*.parquet")):
        table = pq.read_table(path, columns=["label", "confidence"])
        found += list(
            zip(
                table["label"].to_pylist(), table["confidence"].to_pylist(), strict=True
            )
        )
    return found


def test_all_predictions_are_counted(run):
    levels = np.array([0.0, 0.3, 0.9], np.float32)
    found = prediction_counts.count_predictions(run.labeled_round(1), levels)
    every = rows(run, 1)
    known = [(label, sure) for label, sure in every if label is not None]
    assert found.images == len(every) == 900
    assert len(known) < 900
    assert found.predicted.tolist() == [
        sum(label == c for label, _ in known) for c in range(3)
    ]
    assert found.bars.tolist() == [
        sum(min(int(np.float32(sure) * np.float32(50)), 49) == bar for _, sure in known)
        for bar in range(prediction_counts.NUM_BARS)
    ]
    assert found.reached.tolist() == [
        sum(sure >= level for _, sure in known) for level in levels
    ]


def test_the_table_counts_as_the_selection_does(run):
    labeled = run.labeled_round(1)
    found = prediction_counts.count_predictions(labeled, np.empty(0, np.float32))
    tally = found.tally
    # One image was dropped as a duplicate.
    assert tally.histogram[:-1].sum() == found.predicted.sum() - 1
    cells = what_if.make_table(tally, labeled.selection.settings, None)
    settings = labeled.selection.settings
    (own,) = (
        cell
        for cell in cells
        if cell.images_per_class == settings.images_per_class
        and np.float32(cell.confidence_threshold)
        == np.float32(settings.thresholds.values[0])
    )
    funnel = labeled.selection.funnel
    assert (own.unique, own.records) == (funnel.unique_kept, funnel.records)


def test_churn_compares_image_by_image(run):
    found = prediction_counts.compare_rounds(
        run.labeled_round(1), run.labeled_round(2), round=2
    )
    before, after = rows(run, 1), rows(run, 2)
    cuts = [
        (rule.cut_off.confidence, rule.cut_off.key_hash)
        for rule in run.labeled_round(1).selection.classes
    ]
    hashes = np.concatenate(
        [
            pq.read_table(path, columns=["key_hash"])["key_hash"].to_numpy()
            for path in sorted((run.round(1) / "predictions").glob("*.parquet"))
        ]
    )
    counts = [0, 0, 0, 0]
    for index, ((was, sure), (now, _)) in enumerate(zip(before, after, strict=True)):
        if was is None or now is None:
            continue
        # The first image was dropped as a duplicate.
        lowest, last = cuts[was]
        is_kept = index > 0 and (sure, -int(hashes[index])) >= (lowest, -last)
        counts[0] += 1
        counts[1] += was != now
        counts[2] += is_kept
        counts[3] += is_kept and was != now
    assert [found.images, found.changed, found.kept, found.kept_changed] == counts
    assert found.kept == run.labeled_round(1).selection.funnel.unique_kept
    assert 0 < found.changed < found.images


def test_keys_are_read_if_they_break_ties(tmp_path):
    """All confidences and hashes are equal, so that keys decide."""
    table = selections.to_table([("ok", 0, 0.9, 7)] * 10)
    selection = selections.run([table], selections.config(images_per_class=4))
    assert selection.classes[0].cut_off.key is not None
    whole = runs.to_table(
        np.random.default_rng(0),
        np.arange(10),
        np.zeros(10, np.int32),
        np.full(10, 0.9, np.float32),
    )
    for name in ("key", "key_hash"):
        at = whole.schema.get_field_index(name)
        whole = whole.set_column(at, name, table[name])
    labeled = prediction_counts.LabeledRound(
        predictions=epath.Path(tmp_path),
        num_shards=1,
        selection_directory=epath.Path(tmp_path / "selection"),
        selection=selection,
    )
    with labeled.path(0).open("wb") as file:
        prediction_schema.write_shard(file, iter([whole]), fingerprint="f")
    assert prediction_counts.compare_rounds(labeled, labeled, round=2).kept == 4


def test_a_shard_that_has_lost_images_is_named(run, tmp_path):
    runs.make(tmp_path / "run", runs.Plan(class_names=("a", "b", "c"), images=90))
    other = Run(tmp_path / "run")
    with pytest.raises(ValueError, match=r"predictions-00000\.parquet.* 30 "):
        prediction_counts.compare_rounds(
            run.labeled_round(1), other.labeled_round(2), round=2
        )


def test_a_label_beyond_the_classes_is_named(run, tmp_path):
    plan = runs.Plan(class_names=("a", "b", "c", "d"), images=90)
    other = Run(runs.make(tmp_path / "run", plan)).labeled_round(1)
    few = prediction_counts.LabeledRound(
        **{**vars(other), "selection": run.labeled_round(1).selection}
    )
    with pytest.raises(ValueError, match=r"round-1/predictions.* 3\b"):
        prediction_counts.count_predictions(few, np.empty(0, np.float32))


def test_files_that_were_not_labeled_here_are_refused(tmp_path):
    runs.make(tmp_path / "run", runs.Plan(class_names=("a", "b", "c"), images=90))
    summary = tmp_path / "run" / "round-1" / "predictions" / "summary.json"
    summary.write_text('{"checksums": ["00000000"]}')
    with pytest.raises(ValueError, match=r"predictions-00000\.parquet.*summary\.json"):
        Run(tmp_path / "run").labeled_round(1)
