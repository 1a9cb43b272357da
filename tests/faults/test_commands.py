"""Faults of whole commands; most of these tests are slow."""

import shutil
import signal

import psutil
import pytest

from beam_jobs.selection import job as selection_job
from beam_jobs.selection import pipeline
from stage import artifact
from tests.commands import call, start
from tests.faults import disks, endings, handlers, job, page
from tests.images import random_images, write_records
from tests.infra import jobs

NUM_SHARDS = 12
IMAGES = random_images(NUM_SHARDS)


@pytest.fixture
def place(tmp_path):
    """A directory with records, the names of classes, and an undisturbed output."""
    for index, image in enumerate(IMAGES):
        write_records(tmp_path / "in" / f"part-{index:02d}", [image])
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    end(start_labeling(tmp_path, "undisturbed"), status=0)
    return tmp_path


def start_labeling(place, name):
    """Starts to label into a directory with a slow model handler."""
    return start(
        "beam_jobs.label_images",
        f"--images=tfrecord:{place}/in/part-*",
        f"--model_handler={handlers.__name__}:Slow",
        f"--class_names={place}/names.txt",
        f"--output={place}/{name}",
        *("--", *jobs.LOCAL),
    )


@pytest.fixture
def label(place):
    """Starts to label into `out`; ends what it has started."""
    started = []

    def start_in_place():
        started.append(start_labeling(place, "out"))
        return started[-1]

    yield start_in_place
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def end(process, *, status):
    """Returns the output of a command, which must end with a status."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output
    assert "Traceback" not in output
    return output


# --- the other two jobs --------------------------------------------------------
@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """The output of two commands whose inputs changed since labeling."""
    root = tmp_path_factory.mktemp("changed")
    for shard in range(2):
        write_records(root / "in" / f"part-{shard}", IMAGES[shard::2])
    (root / "names.txt").write_text("a\nb\nc\n")
    job.label(
        f"tfrecord:{root}/in/part-*",
        root / "predictions",
        lambda: job.settings(
            model_handler=f"{handlers.__name__}:Fixed",
            class_names_file=str(root / "names.txt"),
        ),
    )
    select(root)
    shutil.copytree(root / "predictions", root / "damaged")
    spoil(root / "damaged" / "predictions-00001.parquet")
    spoil(root / "in" / "part-0")
    commands = {
        "image changed since it was labeled": (
            "beam_jobs.write_records",
            f"--images=tfrecord:{root}/in/part-*",
            f"--predictions={root}/predictions",
            f"--selection={root}/selection",
            f"--output={root}/dataset",
        ),
        "damaged predictions file": (
            "beam_jobs.select_labels",
            f"--predictions={root}/damaged",
            f"--output={root}/other",
        ),
    }
    ended = {fault: call(*words) for fault, words in commands.items()}
    assert all(process.returncode == 1 for process in ended.values()), ended
    return {fault: process.stdout + process.stderr for fault, process in ended.items()}


def select(root):
    request = selection_job.SelectionRequest(
        predictions=str(root / "predictions"),
        # All of them: writing reads again what was selected.
        confidence_threshold=0.0,
        images_per_class=99,
        max_copies=1,
        duplicate_bits=selection_job.KEEP_DUPLICATES,
    )
    output = str(root / "selection")
    planned = selection_job.plan(request, output=output)
    artifact.start_or_resume(output, planned.config)
    pipeline.run(planned, job.OPTIONS)
    artifact.complete(output, seconds=0.0)


def spoil(path):
    """Changes bytes at the beginning of a file: its size and its end stay."""
    with path.open("r+b") as file:
        file.seek(20)
        file.write(bytes(200))


@page.holds(
    "image changed since it was labeled",
    "damaged predictions file",
)
def test_what_changed_since_labeling(fault, messages):
    assert fault.end == endings.FAILED
    (line,) = [line for line in messages[fault.name].splitlines() if "error" in line]
    assert line.startswith("error: ")
    fault.check(line)


# --- processes that end --------------------------------------------------------
@pytest.mark.slow
@page.holds("worker process that is killed")
def test_worker_process_that_is_killed(fault, place, label):
    assert fault.end == endings.CONTINUES
    process = label()
    jobs.wait_for_shards(process, place / "out", 2)
    jobs.workers_of(psutil.Process(process.pid))[0].kill()
    fault.check(end(process, status=0))
    jobs.compare(place / "out", place / "undisturbed")


@pytest.mark.slow
@page.holds("Ctrl-C during labeling", "label_images killed")
def test_command_that_is_ended(fault, place, label):
    assert fault.end == endings.RESUMABLE
    process = label()
    jobs.wait_for_shards(process, place / "out", 2)
    if fault.name == "Ctrl-C during labeling":
        process.send_signal(signal.SIGINT)
        fault.check(end(process, status=130))
    else:
        process.kill()
        end(process, status=-signal.SIGKILL)
    assert 2 <= jobs.count_shards(place / "out") < NUM_SHARDS
    job.read_rows(place / "out", may_be_unfinished=True)
    assert "shards are labeled already" in end(label(), status=0)
    jobs.compare(place / "out", place / "undisturbed")


@pytest.mark.slow
@page.holds("two label_images commands with the same output")
def test_two_commands_on_one_output(fault, place, label):
    assert fault.end == endings.FAILED
    processes = [label(), label()]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    statuses = [process.returncode for process in processes]
    assert sorted(statuses) == [0, 1], outputs
    fault.check(outputs[statuses.index(1)])
    assert not any("Traceback" in output for output in outputs)
    jobs.compare(place / "out", place / "undisturbed")


# --- the disk ------------------------------------------------------------------
@pytest.mark.slow
@page.holds("disk that is too small for the predictions")
def test_full_disk(fault, place, label):
    assert fault.end == endings.FAILED_RESUMABLE
    (place / "out").mkdir()
    with disks.mounted(place / "out", "size=28k"):
        fault.check(end(label(), status=1))
        job.read_rows(place / "out", may_be_unfinished=True)
        disks.remount(place / "out", "size=10m")
        end(label(), status=0)
        jobs.compare(place / "out", place / "undisturbed")
