"""What a selection job refuses before any work."""

import dataclasses
import json
import pathlib
import re
import shutil
import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.selection import job as selection_job
from beam_jobs.selection.job import SelectionRequest
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import SUMMARY
from pseudo_label.selection import decision
from stage import artifact
from tests import chain
from tests.beam_jobs.propagation import sets
from tests.commands import call


@pytest.fixture
def place(tmp_path):
    return chain.make(tmp_path, num_shards=3, per_shard=4)


def plan(place, **request):
    request = {"predictions": place.predictions, **request}
    return selection_job.plan(
        SelectionRequest(**request), output=str(place.root / "new")
    )


def refuses(place, words, error=ValueError, **request):
    with pytest.raises(error, match=words):
        plan(place, **request)
    assert not (place.root / "new").exists()


def shard(place, index):
    return pathlib.Path(place.predictions) / prediction_schema.shard_name(index)


def test_a_missing_shard(place):
    shard(place, 1).unlink()
    refuses(place, "00001")


def test_a_doubled_shard(place):
    shards = [prediction_schema.read_facts(shard(place, index)) for index in range(3)]
    summary = shard(place, 0).with_name(SUMMARY)
    artifact.write_json(summary, {"checksums": [facts.checksum for facts in shards]})
    plan(place)
    shutil.copy(shard(place, 0), shard(place, 2))
    refuses(place, r"00002\.parquet")


@pytest.mark.parametrize(
    "name", ["predictions-00003.parquet", "predictions-copy.parquet"]
)
def test_a_shard_too_many(place, name):
    shutil.copy(shard(place, 0), shard(place, 0).with_name(name))
    refuses(place, name)


def test_predictions_of_two_teachers_mixed(place, tmp_path):
    other = chain.Chain(tmp_path / "other")
    shutil.copytree(place.root / "images", other.root / "images")
    chain.predict(other, teachers=("another",))
    shutil.copy(shard(other, 1), shard(place, 1))
    refuses(place, r"00001\.parquet")


def test_an_excluded_set_of_other_teachers(place, tmp_path):
    other = chain.Chain(tmp_path / "other")
    shutil.copytree(place.root / "images", other.root / "images")
    chain.predict(other, teachers=("another",))
    refuses(place, "--exclude=other/predictions", exclude=(other.predictions,))
    refuses(place, "--exclude", exclude=(place.predictions,) * 2)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"confidence_threshold": -0.1}, r"confidence_threshold.* -0\.1"),
        ({"confidence_threshold": float("nan")}, "confidence_threshold.* nan"),
        ({"images_per_class": -1}, "images_per_class.* -1"),
        ({"max_copies": 0}, "max_copies.* 0"),
        ({"duplicate_bits": 4}, r"0\.\.3.* 4"),
    ],
)
def test_settings_out_of_range(place, request_, words):
    refuses(place, words, **request_)


def test_unknown_names_in_a_class_file(place):
    path = place.root / "thresholds.json"
    path.write_text(json.dumps({"ant": 0.5, "cow": 0.5}))
    refuses(place, "cow", class_thresholds=str(path))


def test_a_target_without_data_or_beside_a_threshold(place):
    refuses(place, "--target_precision.*--calibration", target_precision=0.9)
    refuses(
        place,
        "--target_precision",
        target_precision=0.9,
        calibration="somewhere",
        confidence_threshold=0.5,
    )


def calibrate(place, **facts):
    directory = place.root / "calibration"
    shutil.rmtree(directory, ignore_errors=True)
    artifact.start_or_resume(directory, {})
    table = pa.table(
        {
            "key": ["a", "b"],
            "label": pa.array([0, 1], pa.int32()),
            "predicted": pa.array([1, 1], pa.int32()),
            "confidence": pa.array([0.9, 0.8], pa.float32()),
        }
    )
    pq.write_table(table, directory / "calibration.parquet")
    teachers = list(plan(place).predictions.teachers)
    facts = {
        "schema_version": 1,
        "kind": "held_out",
        "teachers": teachers,
        "temperature": 1.0,
        **facts,
    }
    (directory / "calibration.json").write_text(json.dumps(facts))
    artifact.complete(directory, seconds=0.0)
    return str(directory)


def test_a_calibration_that_does_not_belong(place):
    other = calibrate(place, teachers=["other"])
    request = {"calibration": other, "confidence_threshold": 0.5}
    refuses(place, other, **request)
    calibrate(place, temperature=2.0)
    refuses(place, r"1\.0.* 2\.0.*--calibration", **request)
    shutil.rmtree(other)
    refuses(place, other, FileNotFoundError, **request)


def test_a_calibration_is_not_of_blended_predictions(place):
    summary = pathlib.Path(place.predictions) / "summary.json"
    assert not summary.exists()
    summary.write_text('{"agreement": {"compared": 2, "same": 1}}')
    try:
        refuses(place, "blended.*propagate_labels", calibration=calibrate(place))
        warnings = selection_job.warn(plan(place), is_local=True)
        assert not any("--calibration" in warning for warning in warnings)
    finally:
        summary.unlink()


def test_a_target_that_is_out_of_reach(place):
    refuses(
        place,
        r"97\.00%.* 50\.00%.* 0\.8000",
        calibration=calibrate(place),
    )


def test_the_way_a_threshold_is_found(place):
    assert plan(place).settings.thresholds.values == (0.5,)
    (warning, *_) = selection_job.warn(plan(place), is_local=True)
    assert re.search(r"0\.5 .*--calibration", warning)
    by_target = plan(place, calibration=calibrate(place), target_precision=0.5)
    rule = by_target.settings.thresholds
    assert (rule.rule, rule.target) == ("target_precision", 0.5)
    assert rule.values[0] == pytest.approx(0.8)
    warnings = selection_job.warn(by_target, is_local=True)
    assert not any("--calibration" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("is_local", "num_images", "bits", "warns"),
    [
        (True, 2_000_000, 2, True),
        (True, 1_000_000, 2, False),
        (True, 2_000_000, 0, False),
        (True, 2_000_000, -1, False),
        (False, 2_000_000, 2, False),
    ],
)
def test_too_little_memory_to_compare_by_looks(
    place, monkeypatch, is_local, num_images, bits, warns
):
    memory = types.SimpleNamespace(available=10**9)
    monkeypatch.setattr(selection_job.psutil, "virtual_memory", lambda: memory)
    job = plan(place, duplicate_bits=bits)
    predictions = dataclasses.replace(job.predictions, num_images=num_images)
    job = dataclasses.replace(job, predictions=predictions)
    warnings = list(selection_job.warn(job, is_local=is_local))
    assert any("--duplicate_bits=-1" in warning for warning in warnings) == warns


def test_an_output_with_other_settings(place):
    job = plan(place, confidence_threshold=0.5)
    artifact.start_or_resume(job.output, job.config)
    other = plan(place, confidence_threshold=0.6)
    with pytest.raises(ValueError, match="values"):
        artifact.start_or_resume(other.output, other.config)


def test_similarity_needs_embeddings_everywhere(place, tmp_path):
    refuses(place, "predictions has no embeddings", duplicate_similarity=0.9)
    embedded = types.SimpleNamespace(
        predictions=sets.write(tmp_path / "embedded"), root=tmp_path
    )
    assert plan(embedded, duplicate_similarity=0.9).drops
    bare = sets.write(tmp_path / "bare", embedding_size=0)
    given = {"exclude": (bare,), "duplicate_similarity": 0.9}
    refuses(embedded, "bare has no embeddings", **given)
    other = sets.write(tmp_path / "other", teachers=["x"])
    given = {"exclude": (other,), "duplicate_similarity": 0.9}
    refuses(embedded, "other teachers", **given)
    refuses(embedded, "duplicate_similarity .* got 0", duplicate_similarity=0.0)


def test_settings_of_earlier_versions_stay_the_same(tmp_path):
    """Else a selection would be made anew for a setting that it does not use."""
    embedded = types.SimpleNamespace(
        predictions=sets.write(tmp_path / "embedded"), root=tmp_path
    )
    settings = plan(embedded).config["settings"]
    assert "duplicate_similarity" not in settings
    given = plan(embedded, duplicate_similarity=0.9).config["settings"]
    assert given == {**settings, "duplicate_similarity": 0.9}


def test_what_is_similar_is_dropped(tmp_path):
    predictions = sets.write(tmp_path / "embedded")
    counts = []
    for name, flags in (("plain", []), ("similar", ["--duplicate_similarity=0.9"])):
        ended = call(
            "beam_jobs.select_labels",
            *(f"--predictions={predictions}", f"--output={tmp_path / name}"),
            *("--confidence_threshold=0", *flags),
        )
        assert ended.returncode == 0, ended.stderr
        funnel = decision.read_selection(tmp_path / name).funnel
        counts.append(dataclasses.asdict(funnel)["duplicate"])
    assert counts[0] == 0 < counts[1]
    settings = decision.read_selection(tmp_path / "similar").settings
    assert settings.duplicate_similarity == 0.9
