"""Faults while a job runs; each can be resumed."""

import collections
import errno
import itertools
import os
import shutil
import tempfile
import time

import pytest

from beam_jobs.labeling import worker as labeling_worker
from classifier.data import opening
from pseudo_label.predictions import prediction_set
from stage import artifact, cli, parquet, retry
from tests.faults import endings, handlers, job, page
from tests.images import random_images, write_records
from tests.infra import jobs

IMAGES = random_images(6)
SHARDS = 2


@pytest.fixture
def place(tmp_path):
    """A directory with records, and the names of three classes."""
    for shard in range(SHARDS):
        write_records(tmp_path / "in" / f"part-{shard}", IMAGES[shard::SHARDS])
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    return tmp_path


def label(place, handler="Fixed", *, output="out", before_reading=lambda: None, **more):
    """Labels with a model handler."""
    return job.label(
        f"tfrecord:{place}/in/part-*",
        place / output,
        lambda: job.settings(
            model_handler=f"{handlers.__name__}:{handler}",
            class_names_file=str(place / "names.txt"),
            **more,
        ),
        before_reading=before_reading,
    )


def fails(fault, place, *arguments, **more):
    """Labels, which must fail as the catalog says and leave complete files only."""
    with pytest.raises(SystemExit) as failure:
        label(place, *arguments, **more)
    message = str(failure.value.code)
    assert message.startswith("error: ")
    assert "Traceback" not in message
    assert "\n" not in message
    fault.check(message)
    assert not (place / "out" / "COMPLETED").exists()


def check_undisturbed(place):
    """Compares the output with that of an undisturbed run."""
    label(place, output="undisturbed")
    jobs.compare(place / "out", place / "undisturbed")


# --- models --------------------------------------------------------------------
@page.holds("model that returns NaN")
def test_model_that_returns_nan(fault, place):
    label(place, "NotFinite")
    found = collections.Counter(row["status"] for row in job.read_rows(place / "out"))
    assert found == {"ok": len(IMAGES) - SHARDS, fault.status: SHARDS}
    for row in job.read_rows(place / "out"):
        if row["status"] == fault.status:
            fault.check(row["error"])


MODELS = {
    "model that returns another number of classes": "MoreClasses",
    "model that returns too few rows": "FewerRows",
    "model that raises": "Raising",
    "model that cannot be loaded": "Unloadable",
}


@page.holds(*MODELS)
def test_model_that_does_not_work(fault, place):
    assert fault.end == endings.FAILED
    fails(fault, place, MODELS[fault.name])
    assert not job.read_rows(place / "out")


@page.holds("`--top_k` above the number of classes")
def test_more_top_classes_than_there_are(fault, place):
    assert fault.end == endings.LABELED
    label(place, top_k=10)
    for row in job.read_rows(place / "out"):
        assert sorted(row["top_labels"]) == [0, 1, 2]


# --- sources -------------------------------------------------------------------
@page.holds("source with too many bad images")
def test_source_broken_as_a_whole(fault, place):
    write_records(place / "in" / "part-1", [b"no image"] * 4)
    assert fault.end == endings.FAILED
    fails(fault, place)
    assert len(job.read_rows(place / "out")) == 7
    assert not (place / "out" / "summary.json").exists()
    summary = label(place, max_bad_fraction=0.6)  # It is no part of what was begun.
    assert "labeled 3 of 7 images (4 undecodable)" in summary
    assert "docs/faults.md" in summary


@page.holds("source with too many bad images at its beginning")
def test_source_found_to_be_broken_midway(fault, place, monkeypatch):
    monkeypatch.setattr(labeling_worker, "MIN_IMAGES_TO_JUDGE", 2)
    write_records(place / "in" / "part-0", [b"no image"] * 4)
    fails(fault, place)
    assert not (place / "out" / "predictions-00000.parquet").exists()


@page.holds("source whose files hold no image")
def test_no_image_in_any_shard(fault, place):
    for shard in range(SHARDS):
        (place / "in" / f"part-{shard}").write_bytes(b"")
    fails(fault, place)


@page.holds("read error in every try")
def test_read_error_that_stays(fault, place, monkeypatch):
    assert fault.end == endings.FAILED_RESUMABLE
    open_file = opening._open

    def spoiled(file):
        if file.name == "part-1":
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), file.path)
        return open_file(file)

    with monkeypatch.context() as patch:
        patch.setattr(opening, "_open", spoiled)
        patch.setattr(retry, "DELAYS", [0.0])
        fails(fault, place)
    label(place)
    check_undisturbed(place)


# --- outputs -------------------------------------------------------------------
@page.holds("disk that is full in the middle of a predictions file")
def test_disk_that_fills_up(fault, place, monkeypatch):
    """Fails when half of a file is written; `test_commands.py` fills a real disk."""
    assert fault.end == endings.FAILED_RESUMABLE
    writer = parquet.pq.ParquetWriter
    write = writer.write_table

    def fill(self, *arguments, **more):
        write(self, *arguments, **more)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        fails(
            fault,
            place,
            before_reading=lambda: patch.setattr(writer, "write_table", fill),
        )
        assert not job.read_rows(place / "out")
    label(place)
    check_undisturbed(place)


@page.holds("output locked by another job")
def test_two_jobs_on_one_output(fault, place):
    assert fault.end == endings.FAILED
    (place / "out").mkdir()
    with artifact.locked(place / "out"):
        fails(fault, place)
    label(place)
    check_undisturbed(place)


@page.holds("temporary files left by a killed run")
def test_temporary_files_of_a_run_that_was_killed(fault, place):
    assert fault.end == endings.CONTINUES
    label(place)
    for name in ("predictions-00001.parquet", "summary.json", "COMPLETED"):
        path = place / "out" / name
        path.rename(path.with_name(f".{name}.{'0' * 32}"))
    label(place)
    check_undisturbed(place)


@page.holds("run killed before its first complete file")
def test_run_killed_before_it_wrote_a_file(fault, place):
    assert fault.end == endings.CONTINUES
    (place / "out").mkdir()
    (place / "out" / f".config.json.{'0' * 32}").write_text('{"images"')
    label(place)
    check_undisturbed(place)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])


def foreign(path):
    job.pq.write_table(job.pq.read_table(path).replace_schema_metadata({}), path)


SPOILED = {
    "truncated predictions file": truncate,
    "predictions file written by another program": foreign,
}


@page.holds(*SPOILED)
def test_predictions_that_are_none(fault, place):
    assert fault.end == endings.FAILED
    label(place)
    (place / "out" / "COMPLETED").unlink()
    path = place / "out" / "predictions-00001.parquet"
    SPOILED[fault.name](path)
    fails(fault, place)
    path.unlink()
    label(place)
    check_undisturbed(place)


@page.holds("predictions file of another job")
def test_predictions_of_another_job(fault, place):
    assert fault.end == endings.FAILED
    label(place)
    label(place, top_k=1, output="other")
    (place / "out" / "COMPLETED").unlink()
    copy_other(place)
    fails(fault, place)


def copy_other(place):
    name = "predictions-00001.parquet"
    shutil.copy(place / "other" / name, place / "out" / name)


def exchange(place):
    first, second = (place / "out" / f"predictions-0000{i}.parquet" for i in (0, 1))
    kept = first.read_bytes()
    shutil.copy(second, first)
    second.write_bytes(kept)


def put_other(place):
    for path in (place / "in").iterdir():
        write_records(path, random_images(3, seed=9))
    label(place, output="other")
    copy_other(place)


FOREIGN = {
    "predictions files that were exchanged": exchange,
    "predictions file of other images": put_other,
}


@page.holds(*FOREIGN)
def test_predictions_in_the_place_of_others(fault, place):
    assert fault.end == endings.REFUSED
    label(place)
    prediction_set.open_predictions(str(place / "out"))
    FOREIGN[fault.name](place)
    with pytest.raises(ValueError) as refusal:
        prediction_set.open_predictions(str(place / "out"))
    fault.check(str(refusal.value))


@page.holds("predictions files that were exchanged before labeling was complete")
def test_predictions_exchanged_before_the_end(fault, place):
    assert fault.end == endings.FAILED
    label(place)
    (place / "out" / "COMPLETED").unlink()
    exchange(place)
    fails(fault, place)
    for path in (place / "out").glob("predictions-*"):
        path.unlink()
    label(place)
    check_undisturbed(place)


@pytest.mark.parametrize("spoil", [truncate, lambda path: path.unlink()])
@page.holds("complete predictions that lack a file, or with one of another size")
def test_complete_predictions_that_lack_a_file(fault, place, spoil):
    assert fault.end == endings.REFUSED
    label(place)
    path = place / "out" / "predictions-00001.parquet"
    spoil(path)
    with pytest.raises(SystemExit) as refusal:
        label(place)
    fault.check(str(refusal.value.code))
    (place / "out" / "COMPLETED").unlink()
    path.unlink(missing_ok=True)
    label(place)
    check_undisturbed(place)


@page.holds("predictions file deleted after labeling")
def test_predictions_that_were_deleted(fault, place):
    assert fault.end == endings.REFUSED
    label(place)
    (place / "out" / "predictions-00001.parquet").unlink()
    with pytest.raises(SystemExit) as refusal, cli.exit_on_user_error():
        prediction_set.open_predictions(str(place / "out"))
    fault.check(str(refusal.value.code))


# --- the machine ---------------------------------------------------------------
@page.holds("clock that is set back")
def test_clock_that_goes_back(fault, place, monkeypatch):
    assert fault.end == endings.WORKS
    clock = itertools.count(2_000_000_000, -60)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: float(next(clock)))
        summary = label(place)
    assert summary.startswith(f"labeled {len(IMAGES)} of {len(IMAGES)} images")
    check_undisturbed(place)


@page.holds("TMPDIR that does not exist")
def test_temporary_directory_that_is_not_there(fault, place, monkeypatch):
    assert fault.end == endings.WORKS
    monkeypatch.setenv("TMPDIR", "/no/such")
    monkeypatch.setattr(tempfile, "tempdir", None)
    label(place)
    check_undisturbed(place)
