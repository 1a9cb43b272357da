"""Progress with a fake clock; its thread polls only where a test says so."""

import dataclasses
import pathlib
import re
import threading

import pytest
from etils import epath

from beam_jobs.labeling import job as labeling_job
from beam_jobs.labeling import progress
from beam_jobs.labeling.progress import Progress
from benchmarks.launcher import inputs
from pseudo_label.predictions import schema as prediction_schema
from tests import buckets

NEVER = 1e9


@dataclasses.dataclass
class Output:
    """The part of a job that progress needs, and shards of an image each."""

    directory: pathlib.Path
    num_shards: int
    fingerprint: str = "x"

    @property
    def own_shards(self):
        return range(self.num_shards)

    def path(self, index):
        return self.directory / prediction_schema.shard_name(index)

    def finish(self, *indices):
        for index in indices:
            with self.path(index).open("wb") as file:
                prediction_schema.write_shard(file, iter([]), fingerprint="x")


@pytest.fixture
def output(tmp_path, monkeypatch):
    facts = prediction_schema.read_facts
    monkeypatch.setattr(
        prediction_schema,
        "read_facts",
        lambda path: dataclasses.replace(facts(path), num_rows=100),
    )
    return Output(tmp_path, num_shards=8)


@dataclasses.dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self):
        return self.seconds


def test_a_shard_of_another_job_is_refused_before_work_starts(output):
    output.finish(2)
    others = dataclasses.replace(output, fingerprint="y")
    with (
        pytest.raises(RuntimeError, match=r"predictions-00002.*by another job"),
        Progress(others, print, interval=NEVER),
    ):
        pytest.fail("work has started")


def test_a_line_for_each_change_and_one_at_the_end(output):
    lines, clock = [], Clock()
    with Progress(output, lines.append, interval=NEVER, clock=clock) as progress:
        clock.seconds = 10.0
        progress.update()
        assert lines == []
        output.finish(0)
        progress.update()
        progress.update()
        assert len(lines) == 1
        clock.seconds = 12.0
        output.finish(1, 2, 3, 4)
        progress.update()
        assert len(lines) == 2
        output.finish(5, 6, 7)
        progress.update()
        assert len(lines) == 2
    first, second, last = lines
    assert first.startswith("[##")
    assert "shard 1/8  100 images  10.0 images/s" in first
    # Since the first shard: before it, workers were starting.
    assert "shard 5/8  500 images  200.0 images/s" in second
    assert re.search(r"ETA 0*:?0*1$", second)  # 3 shards at 2 a second
    assert "[####################] shard 8/8  800 images  350.0 images/s" in last
    assert re.search(r"ETA [0:]+$", last)


def test_shards_of_earlier_runs_do_not_count_for_the_speed(output):
    output.finish(0, 1)
    lines, clock = [], Clock()
    with Progress(output, lines.append, interval=NEVER, clock=clock) as progress:
        assert progress.count_shards() == 2
        clock.seconds = 4.0
        output.finish(2)
        progress.update()
        output.finish(*range(3, 8))
    assert lines[0].startswith("2 of 8 ")
    assert "shard 3/8  300 images  25.0 images/s" in lines[1]
    assert len(lines) == 3


def test_a_job_without_work_shows_no_remaining_time(output):
    output.finish(*range(8))
    lines = []
    with Progress(output, lines.append, interval=NEVER):
        pass
    assert "shard 8/8  800 images  0.0 images/s" in lines[-1]


def test_a_thread_polls_the_output(output):
    found = threading.Event()
    with Progress(output, lambda line: found.set(), interval=0.001):
        output.finish(3)
        assert found.wait(60)


def test_a_failure_adds_no_line(output):
    lines = []
    with (
        pytest.raises(RuntimeError, match="broken"),
        Progress(output, lines.append, interval=NEVER),
    ):
        output.finish(0)
        raise RuntimeError("broken")
    assert lines == []


def test_a_bucket_is_looked_at_less_often(tmp_path):
    local, remote = (
        Progress(Output(directory, 1), lambda line: None)._interval
        for directory in (tmp_path, epath.Path("gs://bucket/out"))
    )
    assert (local, remote) == (progress.INTERVAL, progress.REMOTE_INTERVAL)


def test_a_shard_that_is_replaced_after_its_count_is_found(monkeypatch):
    """In a bucket, where what the progress has read is not read again."""
    job = inputs.make_job(3)
    objects = inputs.make_objects(job)
    other = dataclasses.replace(job.labeling, fingerprint="0" * 64)
    others = inputs.make_objects(dataclasses.replace(job, labeling=other))
    name = f"{inputs.FOLDER}/{prediction_schema.shard_name(1)}"
    assert len(objects[name]) == len(others[name])
    with buckets.serve(monkeypatch, objects) as server:
        with Progress(job.labeling, lambda line: None, interval=NEVER) as counted:
            assert counted.count_shards() == 3
        reads = server.counts["read"]
        assert "600 of 600" in labeling_job.finish(job.labeling, job.source.shards)
        assert server.counts["read"] == reads
        server.objects.put(name, others[name])
        with pytest.raises(RuntimeError, match="written by another job"):
            labeling_job.finish(job.labeling, job.source.shards)
        server.objects.delete(name)
        with pytest.raises(RuntimeError, match="is missing"):
            labeling_job.finish(job.labeling, job.source.shards)
