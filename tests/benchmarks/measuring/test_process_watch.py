import sys
import time

import pytest

from benchmarks.measuring.process_watch import proportional_bytes, resident_bytes, watch

MEGABYTE = 1_000_000
HOLD = "import time; held = b'x' * {}; time.sleep(0.5)"


def run(program, *arguments, **options):
    return watch([sys.executable, "-c", program, *arguments], **options)


def starting(child, rest):
    """Returns a program that starts another and goes on at the same time."""
    return (
        f"import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', "
        f"{child!r}]); {rest}; child.wait()"
    )


@pytest.mark.parametrize("memory", [resident_bytes, proportional_bytes])
def test_memory_of_the_whole_process_tree_is_seen(memory):
    small, large = HOLD.format(60 * MEGABYTE), HOLD.format(100 * MEGABYTE)
    watched = run(f"print(1); {starting(large, small)}", memory=memory)
    assert watched.output == "1\n"
    assert watched.result == 1
    assert set(watched.peak_bytes_by_depth) == {0, 1}
    assert 60 < watched.peak_bytes_by_depth[0] / MEGABYTE < 90
    assert 100 < watched.largest_process(min_depth=1) / MEGABYTE < 130
    assert watched.largest_process(min_depth=0) == watched.peak_bytes_by_depth[1]
    assert watched.largest_process(min_depth=2) == 0
    assert 160 < watched.peak_bytes / MEGABYTE < 215
    assert 0.5 < watched.seconds < 60
    assert 0 < watched.cpu_seconds < watched.seconds
    assert watched.start_seconds == 0
    assert abs(watched.started + watched.seconds - time.time()) < 5


def test_depth_counts_generations():
    hold = HOLD.format(60 * MEGABYTE)
    watched = run(starting(starting(hold, "pass"), "pass"), memory=resident_bytes)
    peaks = watched.peak_bytes_by_depth
    assert set(peaks) == {0, 1, 2}
    assert peaks[2] > 60 * MEGABYTE > max(peaks[0], peaks[1])


def test_processes_one_after_the_other_do_not_add_up():
    hold = HOLD.format(100 * MEGABYTE)
    run_child = f"subprocess.run([sys.executable, '-c', {hold!r}])"
    watched = run(f"import subprocess, sys; {run_child}; {run_child}")
    assert 100 < watched.peak_bytes / MEGABYTE < 150


def test_memory_that_processes_share_counts_once():
    watched = run(
        f"import os, time; held = b'x' * {100 * MEGABYTE}; child = os.fork(); "
        "time.sleep(0.4); child and os.wait()"
    )
    assert 100 < watched.peak_bytes / MEGABYTE < 150


def test_the_moment_when_the_work_begins_is_seen(tmp_path):
    mark = tmp_path / "mark"
    program = (
        "import pathlib, sys, time; time.sleep(0.4); pathlib.Path(sys.argv[1]).touch();"
        "time.sleep(0.4)"
    )
    watched = run(program, str(mark), has_begun=mark.exists)
    assert 0.4 < watched.start_seconds < watched.seconds - 0.2


def test_a_failure_is_reported_with_the_words_of_the_command():
    with pytest.raises(RuntimeError, match="no such thing"):
        run("raise SystemExit('no such thing')")
