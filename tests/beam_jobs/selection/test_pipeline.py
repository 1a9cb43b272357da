"""The selection job on files, held against sorting them all."""

import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.runners.run import parse_beam_arguments
from beam_jobs.selection import job as selection_job
from beam_jobs.selection import pipeline
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection import order_statistics
from pseudo_label.selection.decision import (
    count_copies,
    open_selection,
    read_selection,
)
from stage import artifact
from tests import chain

OPTIONS = parse_beam_arguments(["", "--direct_num_workers=1"], name="selecting")
TWO_PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return chain.make(tmp_path_factory.mktemp("chain"), num_shards=4, per_shard=16)


def plan(place, output, **request):
    request = {"predictions": place.predictions, "duplicate_bits": -1, **request}
    return selection_job.plan(
        selection_job.SelectionRequest(**request), output=str(place.root / output)
    )


def run(place, output, options=OPTIONS, **request):
    shutil.rmtree(place.root / output, ignore_errors=True)
    job = plan(place, output, **request)
    artifact.start_or_resume(job.output, job.config)
    pipeline.run(job, options)
    artifact.complete(job.output, seconds=0.0)
    return open_selection(job.output, job.predictions)


def copies_of(place, selection):
    tables = [pq.read_table(path) for path in files_of(place)]
    return [count_copies(table, selection).tolist() for table in tables]


def files_of(place):
    return sorted(pathlib.Path(place.predictions).glob("predictions-*"))


@pytest.mark.parametrize("narrows", [False, True])
def test_selects_what_sorting_selects(place, monkeypatch, narrows):
    if narrows:
        monkeypatch.setattr(order_statistics, "MAX_ROWS", 0)
    selection = run(place, "own", confidence_threshold=0.5, images_per_class=9)
    expected = read_selection(place.selection)
    assert copies_of(place, selection) == copies_of(place, expected)
    assert selection.funnel == expected.funnel
    assert selection.predictions == expected.predictions


def test_workers_change_no_byte(place, monkeypatch):
    request = {"confidence_threshold": 0.3, "what_if": True, "duplicate_bits": 3}
    run(place, "one", **request)
    two = parse_beam_arguments(["", *TWO_PROCESSES], name="selecting")
    run(place, "two", two, **request)
    names = {"config.json", "selection.json", "what_if.json"}
    for name in names:
        one, other = ((place.root / d / name).read_bytes() for d in ("one", "two"))
        assert one == other
    assert names <= {path.name for path in (place.root / "one").iterdir()}


def test_what_looks_the_same_and_is_of_one_class_is_kept_once(place, tmp_path):
    twice = chain.Chain(tmp_path)
    shutil.copytree(place.predictions, twice.predictions)
    first, second = (pq.read_table(path) for path in files_of(twice)[:2])
    _change(files_of(twice)[1], perceptual_hash=first["perceptual_hash"])
    selection = run(twice, "own", confidence_threshold=0.0, duplicate_bits=0)
    pairs = zip(first["label"].to_pylist(), second["label"].to_pylist(), strict=True)
    # One row of each shard has no prediction, so no look.
    expected = sum(label is not None and label == other for label, other in pairs)
    assert 0 < expected < 15
    assert selection.funnel.duplicate == expected
    dropped = [
        near_duplicates.read_dropped(str(tmp_path / "own"), index) for index in range(4)
    ]
    assert sum(map(len, dropped)) == expected
    assert len(dropped[2]) == len(dropped[3]) == 0
    funnel = selection.funnel
    assert funnel.read == (
        funnel.undecodable
        + funnel.duplicate
        + funnel.below_threshold
        + funnel.beyond_quota
        + funnel.unique_kept
    )


def test_what_leaks_is_dropped(place):
    selection = run(
        place,
        "own",
        confidence_threshold=0.0,
        exclude=(place.predictions,),
    )
    assert selection.funnel.leaked == selection.funnel.read - 4
    assert selection.funnel.unique_kept == 0
    rows = pq.read_table(
        place.root / "own" / "dropped" / prediction_schema.shard_name(0)
    )
    assert (
        rows["twin_set"].to_pylist()
        == [f"{place.root.name}/predictions"] * rows.num_rows
    )


def test_adaptive_thresholds_are_those_of_the_counts(place):
    selection = run(
        place, "own", confidence_threshold=0.6, images_per_class=5, adaptive=True
    )
    rows = pa.concat_tables([pq.read_table(path) for path in files_of(place)])
    labels = rows["label"].fill_null(0).to_numpy()
    is_confident = rows["confidence"].fill_null(0.0).to_numpy() >= np.float32(0.6)
    counts = np.bincount(labels[is_confident], minlength=3)
    share = counts / counts.max()
    expected = np.float32(0.6) * share / (2 - share)
    got = [rule.threshold for rule in selection.classes]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    again = [
        int((rows["confidence"].fill_null(-1.0).to_numpy()[labels == k] >= t).sum())
        for k, t in enumerate(np.array(got, np.float32))
    ]
    assert [rule.confident for rule in selection.classes] == again


def test_the_estimate_is_of_the_images_that_the_rules_keep(place):
    _make_calibration(place, [0.2, 0.6, 0.9, 0.95], [0, 1, 1, 1])
    selection = run(
        place, "own", calibration=str(place.root / "calibration"), images_per_class=99
    )
    assert selection.settings.thresholds.values[0] == np.float32(0.6)
    assert selection.settings.thresholds.target == 0.97
    estimate = selection.estimate
    assert (estimate.above_threshold.right, estimate.above_threshold.images) == (3, 3)
    predictions = open_predictions(place.predictions)
    lines = list(pipeline.format_lines(str(place.root / "own"), predictions))
    assert any("precision of the labels kept" in line for line in lines)
    assert any("likely to end above the control" in line for line in lines)


@pytest.mark.parametrize("value", [float("nan"), -0.0, -1.0, 1.0000001, np.inf])
def test_confidences_that_cannot_be_stop_the_job(place, tmp_path, value):
    broken = chain.Chain(tmp_path)
    shutil.copytree(place.predictions, broken.predictions)
    path = files_of(broken)[2]
    confidence = pq.read_table(path)["confidence"].to_pylist()
    _change(path, confidence=pa.array([*confidence[:5], value, *confidence[6:]]))
    with pytest.raises(RuntimeError, match=r"00002.*row 5: .*confidence"):
        run(broken, "own", confidence_threshold=0.0)
    assert not (tmp_path / "own" / "selection.json").exists()


@pytest.mark.parametrize("value", [-1, 3])
def test_labels_that_cannot_be_stop_the_job(place, tmp_path, value):
    broken = chain.Chain(tmp_path)
    shutil.copytree(place.predictions, broken.predictions)
    labels = pq.read_table(files_of(broken)[0])["label"].to_pylist()
    _change(files_of(broken)[0], label=pa.array([*labels[:2], value, *labels[3:]]))
    with pytest.raises(RuntimeError, match=rf"row 2: .*label.* 0\.\.2.* {value}"):
        run(broken, "own", confidence_threshold=0.0)


def _change(path, **columns):
    """Replaces columns of predictions, as if they had been labeled so."""
    table = pq.read_table(path)
    for name, values in columns.items():
        field = table.schema.field(name)
        at = table.column_names.index(name)
        table = table.set_column(at, field, values.cast(field.type))
    chain.rewrite(path, table)


def _make_calibration(place, confidence, right):
    directory = place.root / "calibration"
    shutil.rmtree(directory, ignore_errors=True)
    artifact.start_or_resume(directory, {})
    count = len(confidence)
    table = pa.table(
        {
            "key": [str(i) for i in range(count)],
            "label": pa.array([0 if is_right else 1 for is_right in right], pa.int32()),
            "predicted": pa.array([0] * count, pa.int32()),
            "confidence": pa.array(confidence, pa.float32()),
        }
    )
    pq.write_table(table, directory / "calibration.parquet")
    facts = {
        "schema_version": 1,
        "kind": "held_out",
        "teachers": list(plan(place, "none").predictions.teachers),
        "temperature": 1.0,
    }
    (directory / "calibration.json").write_text(json.dumps(facts))
    artifact.complete(directory, seconds=0.0)
