import dataclasses

import pytest

from benchmarks.methods import methods, training
from benchmarks.methods.draws import DataDraw
from benchmarks.methods.training import Task, Trained
from tests.benchmarks.methods.made import DRAW

NETWORK, BUDGET = 7, 100_000_000
SIZES = {"corpus": 1_000, "labeled": 50, "test": 200, "copies": 30}


class Recorder:
    """Stands for the commands, and counts the images that pass through networks."""

    def __init__(self):
        self.labeled = 0
        self.trained = 0.0
        self.kept = [7, 7, 7]

    def call(self, module, *arguments, log):
        if module == "beam_jobs.label_images":
            flags = [argument.partition("=")[::2] for argument in arguments]
            self.labeled += SIZES[dict(flags)["--images"]]

    def train(self, task, name, settings, budget, **_):
        assert budget > 0
        self.trained += budget
        return Trained(
            directory=task.workdir / name,
            accuracy=0.5,
            multiply_adds=budget,
            network=NETWORK,
        )


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(methods, "call", recorder.call)
    monkeypatch.setattr(methods, "train", recorder.train)
    monkeypatch.setattr(methods, "_select", lambda *_: recorder.kept.pop(0))
    monkeypatch.setattr(methods, "_read_agreement", lambda _: 1.0)
    monkeypatch.setattr(methods.spreading, "spread_over_features", lambda *_: 0.5)
    monkeypatch.setattr(training, "count_network", lambda *_: NETWORK)
    monkeypatch.setattr(DataDraw, "count", lambda _, spec: SIZES[spec])
    return recorder


@pytest.fixture
def task(tmp_path):
    draw = dataclasses.replace(DRAW, truth="truth", class_names=tuple("abcdefghij"))
    return Task(draw=draw, budget=BUDGET, seed=1, workdir=tmp_path)


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("propagation", [(), ("--neighbors=10",)])
def test_a_chain_computes_its_budget(recorder, task, rounds, propagation):
    chain = methods.PseudoLabelChain(rounds=rounds, propagation=propagation)
    outcome = chain.run(task)
    of_round = sum(SIZES.values()) - (0 if propagation else SIZES["labeled"])
    assert recorder.labeled == of_round * rounds
    spent = recorder.trained + NETWORK * recorder.labeled
    assert outcome.multiply_adds == pytest.approx(spent)
    assert outcome.multiply_adds == pytest.approx(BUDGET)


@pytest.mark.parametrize("name", ["control", "fixmatch", "spread_features"])
def test_other_methods_compute_their_budget(recorder, task, name):
    outcome = methods.METHODS[name].run(task)
    features = NETWORK * (1_050 if name == "spread_features" else 0)
    assert outcome.multiply_adds == recorder.trained + features == BUDGET


def test_a_chain_ends_when_nothing_is_selected(recorder, task):
    recorder.kept = [7, 0]
    outcome = methods.PseudoLabelChain(rounds=3).run(task)
    assert outcome.parts == {
        "teacher": 0.5,
        "kept 1": 7,
        "student 1": 0.5,
        "kept 2": 0,
    }
    # Two of three labelings, and students of two of three parts are left out.
    assert outcome.multiply_adds == recorder.trained + NETWORK * recorder.labeled


def test_chains_out_of_range_are_refused():
    with pytest.raises(ValueError, match="rounds"):
        methods.PseudoLabelChain(rounds=0)


def test_recipes_have_the_rules_of_lengths_and_mixtures(monkeypatch):
    before = methods.recipe(methods.METHODS["ours_1"])
    monkeypatch.setattr(methods.student_budget, "RATIO", 1.0)
    assert methods.recipe(methods.METHODS["ours_1"]) != before


def test_recipes_have_the_settings_that_methods_share(monkeypatch):
    before = methods.recipe(methods.METHODS["control"])
    monkeypatch.setattr(methods.spreading, "SETTINGS", ())
    assert methods.recipe(methods.METHODS["control"]) != before
    monkeypatch.undo()
    tiny = methods.student_presets.find("tiny")
    changed = dataclasses.replace(tiny, label_smoothing=0.2)
    monkeypatch.setattr(methods.student_presets, "find", lambda _: changed)
    assert methods.recipe(methods.METHODS["control"]) != before


def test_a_setting_that_is_added_changes_no_recipe(monkeypatch):
    before = methods.recipe(methods.METHODS["control"])
    tiny = methods.student_presets.find("tiny")
    later = dataclasses.make_dataclass(
        type(tiny).__name__,
        [("added", int, 7)],
        bases=(type(tiny),),
        frozen=True,
        kw_only=True,
    )
    for value, is_same in ((7, True), (8, False)):
        config = later(**vars(tiny), added=value)
        monkeypatch.setattr(methods.student_presets, "find", lambda _, c=config: c)
        assert (methods.recipe(methods.METHODS["control"]) == before) == is_same


def test_the_methods_have_different_recipes():
    recipes = set(map(methods.recipe, methods.METHODS.values()))
    assert len(recipes) == len(methods.METHODS)
