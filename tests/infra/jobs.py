"""A labeling job long enough to be disturbed, and the check of its output."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import psutil

from tests import commands
from tests.beam_jobs.propagation import sets
from tests.commands import ENVIRONMENT, ROOT

LOCAL = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
#: Small enough that each life of a launcher sees some end, enough for many lives.
NUM_SHARDS = 40
IMAGES_PER_SHARD = 192
#: Seconds in which a launcher that is left alone must get on.
PATIENCE = 300.0
_POLL_SECONDS = 0.02


def prepare(root: pathlib.Path) -> None:
    """Makes shards of images, and a classifier with random weights."""
    from classifier.training import presets
    from tests.conftest import export
    from tests.images import random_images, write_records

    export(root / "teacher", presets.tiny(), seed=1)
    images = random_images(64)
    for shard in range(NUM_SHARDS):
        chosen = [images[(shard + i) % len(images)] for i in range(IMAGES_PER_SHARD)]
        write_records(root / "in" / f"part-{shard:03d}", chosen)
    # Some of the same images, to exclude.
    write_records(root / "excluded-images", images[:5])


@contextlib.contextmanager
def running(
    root: pathlib.Path, output: pathlib.Path, beam_flags: Sequence[str] = LOCAL
) -> Iterator[psutil.Popen]:
    """Starts to label what `prepare` has made; leaves no launcher behind."""
    with output.with_suffix(".log").open("ab") as log:
        process = psutil.Popen(
            [
                *(sys.executable, "-m", "beam_jobs.label_images"),
                f"--images=tfrecord:{root}/in/part-*",
                *(f"--teacher={root}/teacher", f"--output={output}"),
                # Not whatever is fastest at the moment.
                *("--engine=tensorflow", "--dtype=float32"),
                *("--", *beam_flags),
            ],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def label_excluded(root: pathlib.Path) -> None:
    """Labels the images to exclude."""
    commands.run(
        "beam_jobs.label_images",
        f"--images=tfrecord:{root}/excluded-images",
        *(f"--teacher={root}/teacher", f"--output={root}/excluded"),
        *("--engine=tensorflow", "--dtype=float32"),
    )


def select(root: pathlib.Path, output: pathlib.Path, beam_flags: Sequence[str]) -> None:
    """Selects from what the local runner has labeled, all that a selection can do."""
    commands.run(
        "beam_jobs.select_labels",
        f"--predictions={root}/undisturbed",
        f"--exclude={root}/excluded",
        *("--confidence_threshold=0", "--adaptive", "--what_if"),
        *("--duplicate_bits=3", "--images_per_class=20"),
        f"--output={output}",
        *("--", *beam_flags),
    )


def write(
    root: pathlib.Path,
    output: pathlib.Path,
    beam_flags: Sequence[str],
    *,
    selection: pathlib.Path,
) -> None:
    """Writes what was selected."""
    commands.run(
        "beam_jobs.write_records",
        f"--images=tfrecord:{root}/in/part-*",
        f"--predictions={root}/undisturbed",
        f"--selection={selection}",
        *("--num_shards=12", f"--output={output}"),
        *("--", *beam_flags),
    )


def prepare_features(root: pathlib.Path) -> None:
    """Makes predictions with features, of two or three cells, and labeled ones."""
    sets.write(root / "features", shards=10, rows=2500)
    sets.write(root / "labeled", shards=1, rows=100, labeled=True)


def propagate(
    root: pathlib.Path,
    output: pathlib.Path,
    beam_flags: Sequence[str],
    *,
    exact_images: int,
) -> None:
    """Spreads labels over what `prepare_features` has made."""
    commands.run(
        "beam_jobs.propagate_labels",
        *(f"--predictions={root}/features", f"--labeled={root}/labeled"),
        *(f"--exact_images={exact_images}", f"--output={output}"),
        *("--", *beam_flags),
    )


def log_of(output: pathlib.Path) -> str:
    """Returns what the launchers of an output have printed."""
    return output.with_suffix(".log").read_text(errors="replace")


def count_shards(output: pathlib.Path) -> int:
    """Returns how many shards are labeled."""
    return sum(1 for _ in output.glob("predictions-*"))


def wait_for_shards(process: psutil.Popen, output: pathlib.Path, count: int) -> None:
    """Waits until so many shards are labeled, or the launcher has ended.

    Raises:
        RuntimeError: If that takes too long.
    """
    deadline = time.monotonic() + PATIENCE
    while count_shards(output) < count and process.poll() is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"labeling does not get on: {log_of(output)}")
        time.sleep(_POLL_SECONDS)


def wait(process: psutil.Popen, seconds: float) -> None:
    """Waits for some seconds, or until the launcher has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(_POLL_SECONDS)


def workers_of(process: psutil.Popen) -> list[psutil.Process]:
    """Returns the Python processes that a launcher has started to work for it."""
    found = []
    try:
        for child in process.children(recursive=True):
            words = child.cmdline()
            if any("sdk_worker" in word for word in words) and "-c" not in words:
                found.append(child)
    except psutil.NoSuchProcess:  # One has ended meanwhile.
        pass
    return found


def compare(output: pathlib.Path, undisturbed: pathlib.Path) -> None:
    """Compares all files of two directories but `COMPLETED`.

    Raises:
        RuntimeError: If they differ.
    """
    files = collections.Counter([*_digests(output), *_digests(undisturbed)])
    different = sorted({name for (name, _), count in files.items() if count == 1})
    if different:
        raise RuntimeError(f"{output} differs in {', '.join(different)}")


def _digests(directory: pathlib.Path) -> Iterator[tuple[str, str]]:
    for path in directory.rglob("*"):
        if path.is_file() and path.name != "COMPLETED":
            name = path.relative_to(directory).as_posix()
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()
