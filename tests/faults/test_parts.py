"""Parts of one job, `--shards=I/N`: together they make what one run makes."""

import dataclasses
import os
import random
import shutil
import time

import pytest

from beam_jobs.labeling import job as labeling_job
from beam_jobs.writing import job as writing_job
from stage import artifact
from stage.parts import Part
from tests import buckets, chain, commands
from tests.commands import call
from tests.faults import endings, handlers, page
from tests.images import random_images, write_records

SHARDS = 5
#: Kills of the slow test, of processes that take seconds to start.
MAX_KILLS = 6
OPTIONS = ("--", "--direct_num_workers=1")


@dataclasses.dataclass(frozen=True)
class Job:
    """A command with its flags, and the name of what it counts."""

    module: str
    flags: tuple[str, ...]
    verb: str

    def run(self, output, *flags, options=OPTIONS):
        return call(self.module, *self.flags, f"--output={output}", *flags, *options)

    def done(self, output, *flags):
        """Runs the command, which must not fail; returns its last line."""
        ended = self.run(output, *flags)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def labeling(tmp_path_factory):
    root = tmp_path_factory.mktemp("labeling")
    for shard in range(SHARDS):
        write_records(root / "in" / f"part-{shard}", random_images(2, seed=shard))
    (root / "names.txt").write_text("a\nb\nc\n")
    flags = (
        f"--images=tfrecord:{root}/in/part-*",
        f"--model_handler={handlers.__name__}:Fixed",
        f"--class_names={root}/names.txt",
    )
    return Job("beam_jobs.label_images", flags, "labeled")


@pytest.fixture(scope="module")
def writing(tmp_path_factory):
    made = chain.make(
        tmp_path_factory.mktemp("writing"),
        num_shards=24,
        per_shard=5,
        images_per_class=60,
        max_copies=4,
    )
    flags = (
        *(f"--images={made.images}", f"--predictions={made.predictions}"),
        *(f"--selection={made.selection}", "--num_shards=12"),
    )
    return Job("beam_jobs.write_records", flags, "written")


@pytest.fixture(params=["labeling", "writing"])
def job(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Runs a job once without parts; returns what is in its output."""
    found = {}

    def run(job):
        if job not in found:
            output = tmp_path_factory.mktemp("undisturbed") / "out"
            job.done(output)
            found[job] = content(output)
        return found[job]

    return run


def content(output):
    """Returns the bytes of every file, hidden ones too, but `COMPLETED`."""
    files = {path.name: path.read_bytes() for path in output.iterdir()}
    completed = artifact.read_completed(output).files
    assert completed == {
        name: len(files[name])
        for name in sorted(files.keys() - {"COMPLETED", *artifact.DESCRIPTIONS})
    }
    del files["COMPLETED"]
    return files


def test_parts_make_the_bytes_of_one_run(job, undisturbed, tmp_path):
    output = tmp_path / "out"
    for index in (2, 0):
        line = job.done(output, f"--shards={index}/3")
        assert f"part {index}/3 is done; " in line
        assert f"shards are {job.verb}; the part that ends last completes" in line
        assert not artifact.is_complete(output)
    assert "is done" not in job.done(output, "--shards=1/3")
    assert content(output) == undisturbed(job)
    before = (output / "COMPLETED").read_bytes()
    for flags in (("--shards=0/3",), ("--shards=3/4",), ()):
        assert "already complete" in job.done(output, *flags)
    assert (output / "COMPLETED").read_bytes() == before
    assert content(output) == undisturbed(job)


def test_a_part_says_how_many_shards_are_labeled(labeling, tmp_path):
    line = labeling.done(tmp_path / "out", "--shards=1/2")
    assert line == (
        f"{tmp_path.name}/out: part 1/2 is done; 2 of 5 shards are labeled; the part "
        "that ends last completes the output"
    )
    line = labeling.done(tmp_path / "out", "--shards=0/2")
    assert "labeled 10 of 10 images" in line


@page.holds("more parts than shards")
def test_more_parts_than_shards(fault, job, undisturbed, tmp_path):
    assert fault.end == endings.WORKS
    output = tmp_path / "out"
    count = SHARDS + 2
    for index in reversed(range(count)):
        line = job.done(output, f"--shards={index}/{count}")
        assert ("is done; " in line) == (index > 0)
    assert content(output) == undisturbed(job)


def test_a_whole_run_does_what_parts_have_not_done(job, undisturbed, tmp_path):
    output = tmp_path / "out"
    job.done(output, "--shards=1/3")
    job.done(output)
    assert content(output) == undisturbed(job)


def test_other_parts_do_what_a_whole_run_has_not_done(labeling, undisturbed, tmp_path):
    output = tmp_path / "out"
    labeling.done(output)
    (output / "COMPLETED").unlink()
    (output / "predictions-00001.parquet").unlink()
    assert "part 0/2 is done; 4 of 5" in labeling.done(output, "--shards=0/2")
    labeling.done(output, "--shards=1/2")
    assert content(output) == undisturbed(labeling)


def test_parts_in_a_bucket(job, undisturbed, monkeypatch):
    with buckets.serve(monkeypatch) as server:
        assert "is done; " in job.done("gs://b/out", "--shards=1/2")
        job.done("gs://b/out", "--shards=0/2")
        names, _ = server.objects.list_page("out/", "", 100)
        found = {name: server.objects.get(name).content for name in names}
    written = {name.removeprefix("out/"): content for name, content in found.items()}
    assert written.pop("COMPLETED")
    expected = dict(undisturbed(job))
    for files in (written, expected):
        files.pop(writing_job.INPUTS, None)  # Its paths are relative to the output.
    assert written == expected


# --- kills ---------------------------------------------------------------------
class Killed(BaseException):
    """Ends a process as SIGKILL does: nothing is written, or deleted, any more."""


@dataclasses.dataclass
class Lethal:
    """Kills at the N-th change of the file system after it was armed."""

    left: int
    armed: bool = False

    def wrap(self, change):
        def changed(*arguments, **more):
            self.left -= self.armed
            if self.left < 0:
                raise Killed
            return change(*arguments, **more)

        return changed


#: What looks whether other parts are done; only the end of the job follows.
LAST_LOOK = {
    "labeling": (labeling_job, "describe_rest"),
    "writing": (writing_job, "join"),
}


@page.holds("part killed while it completes the output")
@pytest.mark.parametrize("name", LAST_LOOK)
def test_part_killed_at_each_step_of_the_end(
    fault, name, undisturbed, tmp_path, monkeypatch, request
):
    assert fault.end == endings.RESUMABLE
    job = request.getfixturevalue(name)
    job.done(tmp_path / "begun", "--shards=0/2")
    module, look = LAST_LOOK[name]
    for step in range(100):
        output = tmp_path / f"out-{step}"
        shutil.copytree(tmp_path / "begun", output)
        lethal = Lethal(step)
        with monkeypatch.context() as patch:
            for each in ("replace", "rename", "link", "unlink", "remove"):
                patch.setattr(os, each, lethal.wrap(getattr(os, each)))
            found = getattr(module, look)

            def arm(job, found=found, lethal=lethal):
                lethal.armed = True
                return found(job)

            patch.setattr(module, look, arm)
            try:
                job.done(output, "--shards=1/2")
            except Killed:
                was_killed = True
            else:
                was_killed = False
        # Any part completes it, not only the one that was killed.
        line = job.done(output, f"--shards={step % 2}/2")
        assert "is done" not in line
        assert content(output) == undisturbed(job), step
        shutil.rmtree(output)
        if not was_killed:
            break
    assert 4 < step < 100


@pytest.mark.slow
@page.holds("two parts, one of which is killed again and again")
def test_two_parts_that_are_killed(fault, labeling, undisturbed, tmp_path):
    """Two processes at a time, each with workers of its own."""
    assert fault.end == endings.RESUMABLE
    slow = f"--model_handler={handlers.__name__}:Slow"
    flags = (labeling.flags[0], slow, labeling.flags[2])
    job = dataclasses.replace(labeling, flags=flags)
    output, rng = tmp_path / "out", random.Random(1)

    def start(part):
        options = ("--", "--direct_running_mode=multi_processing")
        flags = (*job.flags, f"--output={output}", f"--shards={part}/2", *options)
        return commands.start(job.module, *flags, "--direct_num_workers=2")

    def count():
        return sum(1 for _ in output.glob("predictions-*"))

    running = {part: start(part) for part in range(2)}
    kills = 0
    while running:
        part = rng.choice(list(running))
        before, deadline = count(), time.monotonic() + rng.uniform(1, 20)
        while running[part].poll() is None and time.monotonic() < deadline:
            if kills >= MAX_KILLS or count() > before:
                break
            time.sleep(0.02)
        if kills < MAX_KILLS and running[part].poll() is None:
            running[part].kill()
            running[part].communicate()
            running[part] = start(part)
            kills += 1
        else:
            commands.finish(running.pop(part))
    assert kills > 1
    assert content(output) == undisturbed(job)


@page.holds("shard that is changed after its part was done")
def test_shard_that_was_changed_before_the_last_part_ended(
    fault, writing, undisturbed, tmp_path
):
    assert fault.end == endings.FAILED_RESUMABLE
    output = tmp_path / "out"
    writing.done(output, "--shards=0/2")
    path = sorted(output.glob("pseudo_labels*"))[0]
    path.write_bytes(path.read_bytes()[:-1])
    ended = writing.run(output, "--shards=1/2")
    assert ended.returncode == 1
    fault.check(ended.stderr)
    writing.done(output, "--shards=0/2")
    assert content(output) == undisturbed(writing)


# --- refusals ------------------------------------------------------------------
REFUSED = {
    "part that is out of range": ("--shards=2/2",),
    "part of a division into none": ("--shards=0/0",),
}


@page.holds(*REFUSED)
def test_parts_that_are_none(fault, job, tmp_path):
    assert fault.end == endings.REFUSED
    refused(fault, job.run(tmp_path / "out", *REFUSED[fault.name]), tmp_path)


def refused(fault, ended, tmp_path):
    assert ended.returncode == 1
    fault.check(ended.stderr)
    assert not (tmp_path / "out").exists()


@page.holds("new shards for a part")
def test_new_shards_for_a_part(fault, labeling, tmp_path):
    assert fault.end == endings.REFUSED
    ended = labeling.run(tmp_path / "out", "--shards=0/2", "--allow_new_shards")
    refused(fault, ended, tmp_path)


@page.holds("part on the runner of a cluster")
@pytest.mark.parametrize("runner", ["PortableRunner", "DataflowRunner"])
def test_part_on_a_cluster(fault, job, tmp_path, runner):
    assert fault.end == endings.REFUSED
    options = {
        "PortableRunner": ("--job_endpoint=localhost:1",),
        "DataflowRunner": (
            *("--project=project", "--region=us-central1"),
            *("--temp_location=gs://bucket/tmp", "--sdk_container_image=image"),
        ),
    }
    ended = job.run(
        tmp_path / "out",
        "--shards=0/2",
        options=("--", f"--runner={runner}", *options[runner]),
    )
    refused(fault, ended, tmp_path)


@page.holds("part whose engine is chosen by its machine")
@pytest.mark.parametrize("flag", ["--engine=tensorflow", "--dtype=float32"])
def test_part_with_an_engine_of_its_own(fault, labeling, tmp_path, flag):
    assert fault.end == endings.REFUSED
    ended = call(
        labeling.module,
        *(labeling.flags[0], "--teacher=none", f"--output={tmp_path}/out"),
        *(flag, "--shards=0/2", *OPTIONS),
    )
    refused(fault, ended, tmp_path)


@page.holds("part with other settings than the first")
def test_part_with_other_settings(fault, labeling, tmp_path):
    assert fault.end == endings.FAILED
    output = tmp_path / "out"
    labeling.done(output, "--shards=0/2")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    ended = labeling.run(output, "--shards=1/2", "--top_k=1")
    assert ended.returncode == 1
    fault.check(ended.stderr)
    after = {path.name: path.read_bytes() for path in output.iterdir()}
    assert after.keys() - before.keys() <= {Part(1, 2).lock_name}
    assert {name: after[name] for name in before} == before


HELD = {
    "part that is running already": Part(0, 2),
    "part beside those of another division": Part(1, 3),
    "whole run beside a part": Part(1, 2),
}


@page.holds(*HELD)
def test_processes_that_keep_each_other_out(fault, job, undisturbed, tmp_path):
    assert fault.end == endings.FAILED
    output = tmp_path / "out"
    flags = () if "whole" in fault.name else ("--shards=0/2",)
    with artifact.locked(output, HELD[fault.name]):
        ended = job.run(output, *flags)
        assert ended.returncode == 1
        fault.check(ended.stderr)
    job.done(output)
    assert content(output) == undisturbed(job)


@page.holds("parts that find the images at different paths")
def test_parts_with_images_elsewhere(fault, labeling, tmp_path):
    assert fault.end == endings.FAILED
    root = labeling.flags[0].removeprefix("--images=tfrecord:").removesuffix("part-*")
    shutil.copytree(root, tmp_path / "moved")
    labeling.done(tmp_path / "out", "--shards=0/2")
    moved = dataclasses.replace(
        labeling,
        flags=(f"--images=tfrecord:{tmp_path}/moved/part-*", *labeling.flags[1:]),
    )
    ended = moved.run(tmp_path / "out", "--shards=1/2")
    assert ended.returncode == 1
    fault.check(ended.stderr)
