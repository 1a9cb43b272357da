import importlib.util
import json
import re
import sys

import numpy as np
import pytest

from benchmarks.selection import arrow_scan, beam_top, goals, inputs, peers, runs
from benchmarks.selection.goals import Case, Sizes, Table
from benchmarks.selection.runs import Run
from benchmarks.selection.task import CONFIDENCE_THRESHOLD, OURS, CutOff, Task
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions
from stage.system import num_cores
from tests import commands

CLASSES = 20


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """2,000 predictions in three files."""
    monkeypatch.setattr(inputs, "SHARD_ROWS", 700)
    monkeypatch.setattr(inputs, "BLOCK_ROWS", 300)
    return inputs.open_inputs(tmp_path, rows=2000, classes=CLASSES)


def read(directory):
    columns = prediction_schema.schema().names
    return [
        row
        for path in sorted(directory.glob("*.parquet"))
        for table in prediction_schema.read_rows(path, columns)
        for row in table.to_pylist()
    ]


def oracle(directory, images_per_class):
    """Returns the cut-offs, by sorting."""
    threshold = np.float32(CONFIDENCE_THRESHOLD)
    found = []
    rows = [row for row in read(directory) if row["status"] == "ok"]
    for label in range(CLASSES):
        best = sorted(
            (-row["confidence"], row["key_hash"])
            for row in rows
            if row["label"] == label and row["confidence"] >= threshold
        )[:images_per_class]
        if best:
            confidence, key_hash = best[-1]
            found.append(CutOff(label, len(best), -confidence, key_hash))
    return found


# --- predictions ---------------------------------------------------------------
def test_the_predictions_are_such_as_selecting_reads(directory):
    predictions = open_predictions(str(directory))
    assert predictions.num_shards == 3
    assert predictions.num_images == 2000
    assert len(predictions.class_names) == CLASSES
    facts = [
        prediction_schema.read_facts(predictions.path(index)) for index in range(3)
    ]
    assert [fact.num_rows for fact in facts] == [667, 667, 666]
    rows = read(directory)
    missing = [row for row in rows if row["status"] != "ok"]
    assert sum(fact.status_counts["ok"] for fact in facts) == 2000 - len(missing)
    assert all(row["label"] is row["confidence"] is None for row in missing)
    assert len({row["key"] for row in rows}) == 2000
    assert len({row["key_hash"] for row in rows}) == 2000
    assert [row["record_index"] for row in rows[667:1334]] == list(range(667))


def test_the_same_numbers_make_the_same_bytes(directory, tmp_path):
    again = inputs.open_inputs(tmp_path / "again", rows=2000, classes=CLASSES)
    for path in directory.glob("*.parquet"):
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_what_is_there_is_not_made_again(directory, monkeypatch):
    monkeypatch.setattr(prediction_schema, "write_shard", None)
    again = inputs.open_inputs(directory.parent, rows=2000, classes=CLASSES)
    assert again == directory


def test_classes_are_frequent_as_zipf_has_it():
    shares = inputs.class_shares(1000)
    by_rank = np.sort(shares)[::-1]
    assert shares.sum() == pytest.approx(1)
    assert by_rank / by_rank[0] == pytest.approx(1 / np.arange(1, 1001))
    assert not np.array_equal(shares, by_rank)
    (table,) = inputs.make_blocks(0, 16_000, classes=1000)
    labels = table["label"].drop_null().to_numpy()
    assert np.mean(labels == shares.argmax()) == pytest.approx(by_rank[0], rel=0.1)


def test_confidences_crowd_below_one():
    (table,) = inputs.make_blocks(0, 16_000, classes=1000)
    confidences = table["confidence"].drop_null().to_numpy()
    assert 0 < len(table) - len(confidences) < 50
    assert 0 < confidences.min() < CONFIDENCE_THRESHOLD
    assert confidences.max() == 1
    assert 0.001 < np.mean(confidences == 1) < 0.01
    assert np.mean(confidences > 0.999) > 0.2


# --- ways ----------------------------------------------------------------------
@pytest.mark.parametrize("way", sorted(peers.PEERS))
def test_every_peer_has_its_module(way):
    module, _ = peers.PEERS[way]
    assert (commands.ROOT / "benchmarks" / f"{module}.py").exists()


@pytest.mark.parametrize("images_per_class", [1, 100, 2000])
@pytest.mark.parametrize("way", goals.DUCKDB)
def test_duckdb_finds_what_sorting_finds(way, images_per_class, directory):
    pytest.importorskip("duckdb", reason="the extra `bench` is not installed")
    from benchmarks.selection import duckdb_window

    task = Task(way, str(directory), images_per_class)
    expected = oracle(directory, images_per_class)
    assert sorted(duckdb_window.run(task)) == expected


def test_top_finds_what_sorting_finds(directory):
    task = Task("top", str(directory), 100)
    assert sorted(beam_top.run(task)) == oracle(directory, 100)


def test_the_scan_reads_and_finds_nothing(directory):
    assert arrow_scan.run(Task("scan", str(directory), 100)) == []


def test_a_peer_in_a_process_of_its_own_says_what_it_found(directory):
    run = runs.measure(Task("scan", str(directory), 100))
    assert run.cut_offs == ()
    assert 0 < run.cpu_seconds < 2 * num_cores() * run.seconds
    assert 0.01 < run.peak_gb < 1


def test_memory_is_that_of_all_processes_at_a_time():
    hold = "import time; held = b'x' * 100_000_000; time.sleep(0.5)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    both = f"import time; held = b'x' * 50_000_000; {start}; del held; {hold}"
    run, printed = runs.watch([sys.executable, "-c", f"print(1); {both}"])
    assert printed == "1\n"
    assert 0.15 < run.peak_gb < 0.2
    assert run.seconds > 1.0


def test_memory_that_processes_share_counts_once():
    code = (
        "import os, time; held = b'x' * 100_000_000; child = os.fork(); "
        "time.sleep(0.5); child and os.wait()"
    )
    run, _ = runs.watch([sys.executable, "-c", code])
    assert 0.1 < run.peak_gb < 0.15


def test_a_command_that_fails_is_told_of():
    with pytest.raises(RuntimeError, match="no such thing"):
        runs.watch([sys.executable, "-c", "import sys; sys.exit('no such thing')"])


# --- goals ---------------------------------------------------------------------
def test_each_case_is_measured_once():
    cases = Sizes(10_000_000, 1_000_000).cases(["duckdb", "top"])
    assert len(cases) == len(set(cases)) == 7
    assert {rows for way, rows in cases if way == OURS} == {
        *(10_000_000, 1_000_000, goals.START_ROWS)
    }
    assert {rows for way, rows in cases if way == "duckdb"} == {
        *(10_000_000, goals.START_ROWS)
    }
    assert Case("top", 1_000_000) in cases


def test_figures_are_of_the_faster_peer_and_the_median_round():
    sizes = Sizes(130_000_000, 1_000_000)
    seconds = {
        Case(OURS, sizes.rows): (14.0, 4.0, 0.50),
        Case(OURS, sizes.tenth): (5.0, 4.0, 0.48),
        Case(OURS, sizes.top_rows): (4.2, 4.0, 0.4),
        Case(OURS, goals.START_ROWS): (4.0, 4.0, 0.4),
        Case("duckdb", sizes.rows): (40.5, 4.0, 2.0),
        Case("duckdb", goals.START_ROWS): (0.5, 0.4, 0.1),
        Case("duckdb_with_key", sizes.rows): (60.0, 4.0, 1.0),
        Case("top", sizes.top_rows): (6.3, 4.0, 1.0),
        Case("top", goals.START_ROWS): (2.3, 4.0, 1.0),
        Case("scan", sizes.rows): (2.8, 4.0, 0.1),
    }
    rounds = {
        case: [Run(*figures), Run(*figures), Run(1.0, 1.0, 1.0)]
        for case, figures in seconds.items()
    }
    assert Table(sizes, rounds).figures() == {
        "seconds": 14.0,
        "start_seconds": 4.0,
        "peak_memory_gb": 0.5,
        "memory_ratio_10x": 1.042,
        "ratio_to_duckdb": 2.893,
        "ratio_to_duckdb_after_start": 4.0,
        "memory_ratio_to_duckdb": 0.25,
        "ratio_to_top": 58.5,
        "ratio_to_top_after_start": 52.0,
        "ratio_to_top_at_equal_rows": 1.5,
        "ratio_to_scan": 0.2,
        "seconds_ratio_10x": 10.0,
    }


def test_what_was_not_measured_has_no_figure():
    sizes = Sizes(1_000_000, 100_000)
    cases = sizes.cases([])
    figures = Table(sizes, {case: [Run(4.0, 4.0, 0.5)] for case in cases}).figures()
    # Nor has what cannot be told from the start.
    assert set(figures) == {
        *("seconds", "start_seconds", "peak_memory_gb", "memory_ratio_10x")
    }


@pytest.mark.parametrize(
    ("name", "figure", "rows", "expected"),
    [
        ("seconds", 15.0, goals.FULL_ROWS, "<= 15 yes"),
        ("seconds", 15.1, goals.FULL_ROWS, "<= 15 no"),
        ("seconds", 4.0, 10_000_000, "<= 15 asked at 130,000,000 rows"),
        ("ratio_to_duckdb", 2.0, goals.FULL_ROWS, ">= 2 yes"),
        ("ratio_to_duckdb", 1.9, goals.FULL_ROWS, ">= 2 no"),
        ("peak_memory_gb", 1.1, 10_000_000, "<= 1 no"),
        ("start_seconds", 4.0, goals.FULL_ROWS, ""),
    ],
)
def test_a_row_says_on_which_side_of_the_goal_it_is(name, figure, rows, expected):
    words = goals.line(name, figure, rows=rows).split()
    assert words == [name, f"{figure:.3f}", *expected.split()]


def test_whoever_selects_otherwise_is_told_of():
    ours = Run(1.0, 1.0, 1.0, (CutOff(0, 5, 0.5, 1), CutOff(1, 2, 0.9, 2)))
    other = ours._replace(cut_offs=(CutOff(0, 5, 0.5, 1), CutOff(1, 2, 0.9, 3)))
    rounds = {
        Case(OURS, 10): [ours],
        Case("scan", 10): [Run(1.0, 1.0, 1.0)],
        Case("top", 10): [ours],
    }
    goals.require_equal_cut_offs(rounds)
    with pytest.raises(RuntimeError, match=r"top selects otherwise .* 10 rows.*=1"):
        goals.require_equal_cut_offs({**rounds, Case("top", 10): [ours, other]})


# --- the command ---------------------------------------------------------------
def test_what_is_not_installed_is_left_out(monkeypatch, capsys):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: None if name == "duckdb" else find_spec(name),
    )
    assert set(peers.installed()) == {"top", "top_processes", "scan"}
    assert "duckdb is left out: duckdb is not installed" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_prints_every_figure(tmp_path):
    lines = commands.run(
        "benchmarks.selection",
        "--rows=100000",
        "--top_rows=10000",
        "--classes=20",
        "--rounds=1",
        f"--data_dir={tmp_path}",
    ).splitlines()
    figures = json.loads(lines[-1])
    assert figures["rows"] == 100_000
    table = figures["classes_20"]
    seconds = {(way, rows): seconds for way, rows, seconds, *_ in table["runs"]}
    ratio = seconds["scan", 100_000] / seconds["ours", 100_000]
    assert table["ratio_to_scan"] == pytest.approx(ratio, rel=0.05)
    assert table["ratio_to_top"] > 0
    (row,) = (line for line in lines if line.startswith("peak_memory_gb"))
    assert re.search(r"<= 1 +(yes|no)$", row)
