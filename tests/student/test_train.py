"""How the flags reach the run; training is tested in classifier/training."""

import json

import pytest

from classifier.export.facts import CLASSIFIER
from classifier.training import network_cost
from classifier.training.budget import images_to_see
from pseudo_label.predictions.prediction_set import SUMMARY
from stage import artifact
from tests.commands import call
from tests.held_tracker import hold_tracker
from tests.images import random_images, write_folder
from tests.student.evaluation.test_comparison import (
    NUM_RECORDS,
    SHARDS,
    write_dataset,
)
from tests.student.training.test_control import FACTS, write

#: Of the dataset; there are fewer records.
IMAGES_PER_CLASS = 30


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Directory of labeled images, and of a dataset of pseudo-labeled ones."""
    root = tmp_path_factory.mktemp("data")
    write_folder(root / "labeled", random_images(9), [0, 1, 2] * 3)
    dataset = write_dataset(root / "dataset", SHARDS)
    settings = {"settings": {"images_per_class": IMAGES_PER_CLASS}}
    artifact.write_json(dataset / artifact.CONFIG, settings)
    return root


def train(data, workdir, *flags):
    return call(
        "student.train",
        *(f"--labeled=folder:{data}/labeled", f"--evaluation=folder:{data}/labeled"),
        *(f"--workdir={workdir}", "--set=model.width_multiplier=0.0625"),
        *("--set=global_batch_size=4", *flags),
    )


def read_config(workdir):
    return json.loads((workdir / artifact.CONFIG).read_text())


def test_the_control_differs_in_the_images_alone(data, trained, tmp_path):
    flags = (f"--pseudo_labeled={data}/dataset", "--seed=5")
    for name, more in (("student", ()), ("control", ("--control",))):
        process = train(data, tmp_path / name, *flags, *more)
        assert process.returncode == 0, process.stderr
    student, control = (read_config(tmp_path / name) for name in ("student", "control"))
    assert student["sizes"] == {"labeled": 9, "pseudo_labeled": NUM_RECORDS}
    assert student["config"]["seed"] == 5
    assert student.pop("pseudo_labeled") is not None
    assert control.pop("pseudo_labeled") is None
    assert student == control
    assert len(trained) == 2


@pytest.fixture(scope="module")
def chain(data):
    """Flags of a control for a teacher and its predictions."""
    directories = {
        "teacher": (CLASSIFIER, {**FACTS, "multiply_adds": 9e9}),
        "predictions": (SUMMARY, {"images": 40, "multiply_adds": 1e9}),
    }
    spent = [
        f"--compute_of={write(data / name, *content)}"
        for name, content in directories.items()
    ]
    return ("--control", *spent)


@pytest.mark.parametrize(
    ("rounds", "more"), [(1, ()), (2, ()), (2, ("--set=num_steps=500",))]
)
def test_a_control_of_a_chain_differs_in_its_length_alone(
    data, chain, trained, tmp_path, rounds, more
):
    flags = (f"--pseudo_labeled={data}/dataset", *more)
    logged = train(data, tmp_path / "student", *flags)
    assert "pseudo-labeled ones" in logged.stdout
    process = train(data, tmp_path / "control", *flags, *chain, f"--rounds={rounds}")
    assert process.returncode == 0, process.stderr
    assert "9 labeled images" in process.stdout
    assert "pseudo-labeled ones" not in process.stdout
    student, control = (
        dict(read_config(tmp_path / name)["config"]) for name in ("student", "control")
    )
    network = network_cost.count_multiply_adds(trained[1][0].config, num_classes=3)
    steps = student["num_steps"]
    if rounds == 2:  # The second one learns from 3 * IMAGES_PER_CLASS images.
        steps += 500 if more else round(images_to_see(9 + 3 * IMAGES_PER_CLASS) / 4)
    of_step = 3 * 4 * network
    cost = 10e9 + (rounds - 1) * 40 * network + steps * of_step
    assert cost <= control["num_steps"] * of_step < cost + of_step
    for config in (student, control):
        del config["num_steps"], config["evaluate_every"]
        del config["optimizer"]["warmup_steps"]
    assert student == control


def test_student_and_control_have_trackers(data, trained, tmp_path, monkeypatch):
    held = hold_tracker(monkeypatch)
    for more in ((), ("--control",)):
        flags = (f"--pseudo_labeled={data}/dataset", "--log_to=mlflow:http://x", *more)
        process = train(data, tmp_path / f"run{len(more)}", *flags)
        assert process.returncode == 0, process.stderr
    assert [len(context.trackers) for _, _, context in trained] == [1, 1]
    assert held.ends == ["finished", "finished"]
    assert json.loads(json.dumps(held.settings)) == read_config(tmp_path / "run1")


def test_without_pseudo_labels_it_trains_on_the_labels(data, trained, tmp_path):
    process = train(data, tmp_path / "student")
    assert process.returncode == 0, process.stderr
    config = read_config(tmp_path / "student")
    assert config["sizes"] == {"labeled": 9, "pseudo_labeled": 0}
    assert config["pseudo_labeled"] is None
    assert "already complete" in train(data, tmp_path / "student").stdout
    assert len(trained) == 1


def test_a_temperature_of_few_labels_is_used(data, trained, tmp_path):
    flags = (f"--pseudo_labeled={data}/dataset", "--set=mixture.temperature=0.25")
    process = train(data, tmp_path / "student", *flags)
    assert process.returncode == 0, process.stderr
    mixture = read_config(tmp_path / "student")["config"]["mixture"]
    assert (mixture["target_kind"], mixture["temperature"]) == ("sharpened", 0.25)


def test_a_temperature_without_an_effect_is_refused(data, tmp_path):
    settings = ("--set=mixture.temperature=0.25", "--set=mixture.target_kind=hard")
    process = train(data, tmp_path / "student", *settings)
    assert process.returncode == 1
    assert "mixture.temperature" in process.stderr
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("flags", "needed"),
    [
        (["--control"], "--pseudo_labeled"),
        (["--compute_of=x"], "--control"),
        (["--pseudo_labeled={}/dataset", "--control", "--rounds=2"], "--compute_of"),
    ],
)
def test_flags_need_others(data, tmp_path, flags, needed):
    process = train(data, tmp_path / "out", *(flag.format(data) for flag in flags))
    assert process.returncode == 1
    assert f"needs {needed}" in process.stderr
    assert not (tmp_path / "out").exists()
