import dataclasses
import pathlib

import pytest

from benchmarks.methods import cost, draws, methods, results, runs, training
from tests.benchmarks.methods.made import DRAW, RESULT


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [1, 2, 3]),
        ("4-6", [4, 5, 6]),
        ("1,4", [1, 4]),
        ("11-11", [11]),
        ("429496728-429496728", [429_496_728]),
    ],
)
def test_seeds(text, seeds):
    assert runs.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "a", "1-", "3-1", "-1"),
        *("1001", "4294967296", "9" * 5000, "1-1000,1001", "429496729"),
        *("5-429496728", "429496728-429496729"),
    ],
)
def test_other_seeds_are_refused(text):
    with pytest.raises(ValueError, match="--seeds"):
        runs.parse_seeds(text)


def test_budgets():
    assert runs.parse_budgets("0.25,1") == [0.25, 1.0]
    for text in ("", "0", "-1", "nan", "1,x"):
        with pytest.raises(ValueError, match="--budgets"):
            runs.parse_budgets(text)


def test_methods_by_name():
    assert runs.parse_methods(None) == list(methods.METHODS)
    assert runs.parse_methods("fixmatch,control") == ["fixmatch", "control"]
    with pytest.raises(ValueError, match="--methods"):
        runs.parse_methods("fixmach")


def test_methods_without_training_run_once_for_a_seed():
    suite = runs.Suite(output=pathlib.Path("x"), data="digits", labels_per_class=5)
    names = ["control", *methods.FREE]
    keys = list(suite.keys(names, seeds=[1, 2], budgets=[0.5, 1.0]))
    assert len(keys) == len(set(keys)) == 2 * (2 + len(methods.FREE))
    assert {key.budget for key in keys if key.method in methods.FREE} == {0.0}


def test_the_seeds_of_a_comparison_are_named(tmp_path):
    suite = runs.Suite(output=tmp_path, data="digits", labels_per_class=5)
    keys = list(suite.keys(["control"], seeds=[1, 3], budgets=[1.0]))
    assert suite.describe(keys) == "digits-5: 2 runs, seeds 1, 3; 0 have results"
    for key in (keys[0], dataclasses.replace(keys[0], seed=2)):
        results.append(suite.results, dataclasses.replace(RESULT, key=key))
    assert suite.describe(keys) == "digits-5: 2 runs, seeds 1, 3; 1 have results"


def test_settings_make_other_runs():
    keys = [
        next(
            runs.Suite(
                output=pathlib.Path("x"),
                data="digits",
                labels_per_class=5,
                settings=settings,
            ).keys([name], seeds=[1], budgets=[1.0])
        )
        for settings in ((), ("image.size=48",))
        for name in methods.METHODS
    ]
    # What trains nothing has no settings.
    assert len(set(keys)) == 2 * len(methods.METHODS) - len(methods.FREE)


class _Method:
    """Stands for a method, and counts its runs."""

    def __init__(self):
        self.tasks = []

    def run(self, task):
        self.tasks.append(task)
        task.workdir.mkdir(parents=True)
        return methods.Outcome(accuracy=0.75, multiply_adds=50.0, parts={"a": 1})


@pytest.mark.parametrize("keep", [False, True])
def test_a_run_is_recorded_and_not_run_again(tmp_path, monkeypatch, keep):
    method = _Method()
    monkeypatch.setitem(methods.METHODS, "control", method)
    monkeypatch.setattr(runs.Suite, "draw", lambda *_: DRAW)
    monkeypatch.setattr(training, "count_network", lambda *_: 100)
    suite = runs.Suite(output=tmp_path, data="digits", labels_per_class=5, keep=keep)
    names = ["control", "true_labels"]  # The truth is not known.
    keys = list(suite.keys(names, seeds=[3, 4], budgets=[0.5]))
    suite.run_missing(keys)
    suite.run_missing(keys)
    assert [task.seed for task in method.tasks] == [3, 4]
    assert {task.budget for task in method.tasks} == {cost.budget_of(0.5, 100)}
    recorded = results.read(suite.results)
    assert list(recorded) == [key for key in keys if key.method == "control"]
    for result in recorded.values():
        assert (result.accuracy, result.multiply_adds) == (0.75, 50.0)
        assert (result.parts, result.num_classes) == ({"a": 1}, 3)
    assert [task.workdir.exists() for task in method.tasks] == [keep, keep]


def test_labels_of_each_class(tmp_path):
    assert draws.find_labels("digits", None) == 5
    assert draws.find_labels("shapes", 7) == 7
    for split in ("labeled", "test", "all"):
        with pytest.raises(ValueError, match=split):
            draws.find_labels(f"folder:{tmp_path}", None)
        (tmp_path / split / "ant").mkdir(parents=True)
        (tmp_path / split / "ant" / "1.png").touch()
    assert draws.find_labels(f"folder:{tmp_path}", None) == 0
    with pytest.raises(ValueError, match="labels"):
        draws.find_labels(f"folder:{tmp_path}", 5)
    with pytest.raises(ValueError, match="digts"):
        draws.find_labels("digts", None)
