import json
import pathlib
import shutil

import pytest

from benchmarks.methods import __main__ as command
from benchmarks.methods import results, runs
from tests import commands

MEASURED = pathlib.Path(results.__file__).parent / "measured" / "results.jsonl"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Takes back the number of threads."""
    for name in command._ONE_THREAD:
        monkeypatch.setenv(name, "1")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--seeds=4294967296", "--seeds: expected"),
        ("--set=foo=1", "unknown setting 'foo'"),
        ("--set=num_steps=7", "--set=num_steps=: expected none of"),
        ("--set=optimizer.warmup_steps=7", "--set=optimizer.warmup_steps=: expected"),
        ("--set=seed=64", "--set=seed=: expected none of"),
        ("--set=global_batch_size=64", "--set=global_batch_size=: expected none of"),
        ("--set=mixture.temperature=2", "unknown setting 'mixture'"),
        (
            "--set=consistency.threshold=0.9",
            "consistency.threshold needs consistency.thresholds=fixed or curriculum",
        ),
        ("--data=digts", "--data: expected"),
    ],
)
def test_what_cannot_be_run_is_refused_before_work(tmp_path, flag, message):
    output = tmp_path / "output"
    ended = commands.call("benchmarks.methods", f"--output={output}", flag)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {message}")
    assert not output.exists()


def test_an_output_that_is_a_file_is_refused(tmp_path):
    path = tmp_path / "file"
    path.touch()
    ended = commands.call("benchmarks.methods", f"--output={path}")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {path}: expected a directory")


def test_results_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / runs.RESULTS).write_text("null\n")
    ended = commands.call("benchmarks.methods", f"--output={tmp_path}")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {tmp_path / runs.RESULTS}, line 1: ")
    assert [path.name for path in tmp_path.iterdir()] == [runs.RESULTS]


def report(output, *flags):
    flags = (f"--output={output}", "--report", *flags)
    ended = commands.call("benchmarks.methods", *flags)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_report_runs_nothing(tmp_path):
    shutil.copyfile(MEASURED, tmp_path / runs.RESULTS)
    output = report(tmp_path, "--seeds=10", "--budgets=0.25")
    assert output.startswith("mean accuracy")
    assert "\noutlook against teacher: " in output
    content = json.loads(output.splitlines()[-1])
    assert content["seeds"] == list(range(1, 11))
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {runs.RESULTS, "digits-5.json", "digits-5.svg"}


def test_a_report_says_for_which_budgets_there_are_results(tmp_path):
    path = tmp_path / runs.RESULTS
    missing = (
        f"{path} has no results of digits-5 for these seeds, methods and settings with "
        "budgets 0.125, 7; of this data set, it has "
    )
    flags = ("--budgets=0.125,7", "--methods=ours_1")
    assert report(tmp_path, *flags) == f"{missing}none\n"
    lines = MEASURED.read_text().splitlines(keepends=True)
    few = [line for line in lines if json.loads(line)["key"]["budget"] in (0, 0.25)]
    path.write_text("".join(few))
    some = f"{missing}some with budgets 0 (no training), 0.25\n"
    assert report(tmp_path, *flags) == some
    # What trains nothing belongs to any budget.
    output = report(tmp_path, flags[0])
    assert output.startswith(some)
    assert "\nspread_pixels " in output


#: Unlabeled, labeled, and excluded images of a draw of the digits.
CORPUS, LABELED, EXCLUDED = 1_147, 50, 650


def count_passes(classifier):
    """Forward passes of a training, a backward pass counting twice."""
    facts = json.loads((classifier / "config.json").read_text())
    config = facts["config"]
    batch, views = config["global_batch_size"], 0
    if "consistency" in config:
        ratio = config["consistency"]["unlabeled_ratio"]
        views = batch * ratio // (1 + ratio)
    return config["num_steps"] * (3 * batch + views)


@pytest.mark.slow
def test_methods_are_compared_by_what_they_have_computed(tmp_path):
    parts = {
        "control": (["classifier"], 0),
        "fixmatch": (["classifier"], 0),
        "ours_1": (["teacher", "round-1/student"], CORPUS + LABELED + EXCLUDED),
        "spread_features": (["classifier"], CORPUS + LABELED),
    }
    flags = ("--seeds=3-3", "--budgets=0.02", f"--methods={','.join(parts)}", "--keep")
    ended = commands.call("benchmarks.methods", f"--output={tmp_path}", *flags)
    assert ended.returncode == 0, ended.stderr
    found = results.read(tmp_path / runs.RESULTS)
    assert [key.method for key in found] == list(parts)
    for key, result in found.items():
        names, labelings = parts[key.method]
        trained = [tmp_path / "runs" / key.name / name for name in names]
        facts = json.loads((trained[-1] / "classifier.json").read_text())
        if key.method != "spread_features":
            assert result.accuracy == facts["evaluation"]["top1"]
        passes = labelings + sum(map(count_passes, trained))
        assert result.multiply_adds == passes * facts["image_multiply_adds"]
        assert 0.96 * result.target < result.multiply_adds <= result.target
