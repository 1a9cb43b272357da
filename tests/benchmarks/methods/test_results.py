import dataclasses
import multiprocessing
import pathlib

import pytest

from benchmarks.methods import results
from tests.benchmarks.methods.made import KEY, RESULT


def result(seed=1, accuracy=0.5):
    key = dataclasses.replace(KEY, seed=seed)
    return dataclasses.replace(RESULT, key=key, accuracy=accuracy, parts={"kept": 3})


def test_what_is_appended_is_read(tmp_path):
    path = tmp_path / "results.jsonl"
    assert results.read(path) == {}
    expected = [result(seed) for seed in range(3)]
    for one in expected:
        results.append(path, one)
    assert list(results.read(path).values()) == expected


def test_a_line_that_was_cut_off_costs_only_itself(tmp_path):
    path = tmp_path / "results.jsonl"
    results.append(path, result(1))
    results.append(path, result(2))
    path.write_bytes(path.read_bytes()[:-9])
    assert [key.seed for key in results.read(path)] == [1]
    results.append(path, result(3))
    assert [key.seed for key in results.read(path)] == [1, 3]


def test_a_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    results.append(path, result(1))
    path.write_bytes(path.read_bytes().rstrip())
    results.append(path, result(2))
    assert [key.seed for key in results.read(path)] == [1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"key": {"data": "x"}}', "accuracy: expected a value"),
        (b"[1]", "expected an object"),
        (b"null", "expected an object"),
        (b'{"key"', "expected JSON"),
        (b"\xff", "expected JSON"),
    ],
)
def test_a_line_that_is_no_result_is_named(tmp_path, line, message):
    path = tmp_path / "results.jsonl"
    results.append(path, result(1))
    path.write_bytes(path.read_bytes() + line + b"\n")
    results.append(path, result(2))
    with pytest.raises(ValueError, match=rf"results\.jsonl, line 2: {message}"):
        results.read(path)


def test_the_measured_results_are_read():
    measured = pathlib.Path(results.__file__).parent / "measured" / "results.jsonl"
    found = results.read(measured)
    assert len(found) == len(measured.read_text().splitlines())


def test_runs_with_other_settings_have_other_names():
    others = [
        dataclasses.replace(KEY, **{field: value})
        for field, value in (
            *(("data", "shapes"), ("labels_per_class", 6), ("seed", 2)),
            *(("budget", 1.0), ("method", "ours"), ("recipe", "abd")),
        )
    ]
    assert len({key.name for key in (KEY, *others)}) == 7


def _hold(path, ready, done):
    with results.claimed(path):
        ready.set()
        done.wait(30)


def test_a_run_is_claimed_until_its_process_ends(tmp_path):
    path = tmp_path / "locks" / "run"
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(path, ready, done))
    process.start()
    assert ready.wait(30)
    with results.claimed(path) as is_free:
        assert not is_free
    process.kill()
    process.join()
    with results.claimed(path) as is_free:
        assert is_free


@pytest.mark.parametrize("wait", [False, True])
def test_a_lock_is_free_again_afterwards(tmp_path, wait):
    for _ in range(2):
        with results.claimed(tmp_path / "lock", wait=wait) as is_free:
            assert is_free
