import dataclasses
import json

import pytest

from classifier.export.facts import CLASSIFIER
from pseudo_label.predictions.prediction_set import SUMMARY
from stage import artifact
from student.training import control, presets
from student.training.budget import Sizes

FACTS = {
    "fingerprint": "f" * 64,
    "class_names": ["ant", "bee"],
    "image": {"size": 32, "crop_fraction": 1.0, "min_crop_area": 1.0},
}


def write(directory, name, content):
    artifact.start_or_resume(directory, {})
    (directory / name).write_text(json.dumps(content))
    artifact.complete(directory, seconds=0.0)
    return str(directory)


def test_trainings_and_labelings_are_added_up(tmp_path):
    directories = [
        write(tmp_path / "a", CLASSIFIER, {**FACTS, "multiply_adds": 1e20}),
        write(tmp_path / "b", SUMMARY, {"images": 30, "multiply_adds": 2e20}),
        write(tmp_path / "c", SUMMARY, {"images": 4, "multiply_adds": 3e20}),
        # No image could be decoded.
        write(tmp_path / "d", SUMMARY, {"images": 9, "multiply_adds": 0.0}),
    ]
    spent = control.read_spent(directories)
    assert spent == control.Spent(multiply_adds=6e20, num_images=43)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (CLASSIFIER, FACTS),
        (SUMMARY, {"images": 30}),
        ("evaluation.json", {}),
    ],
)
def test_what_was_not_counted_is_refused(tmp_path, name, content):
    directory = write(tmp_path / "a", name, content)
    with pytest.raises(ValueError, match=directory):
        control.read_spent([directory])


def test_features_that_cannot_be_counted_are_named(tmp_path):
    probe = write(tmp_path / "a", CLASSIFIER, {**FACTS, "features": "f" * 64})
    labeling = write(tmp_path / "b", SUMMARY, {"images": 30})
    spent = control.read_spent([probe, labeling])
    assert spent == control.Spent(multiply_adds=0.0, num_images=30, uncounted=probe)


def test_what_has_not_ended_is_refused(tmp_path):
    artifact.start_or_resume(tmp_path / "a", {})
    with pytest.raises(ValueError, match="complete"):
        control.read_spent([str(tmp_path / "a")])


@pytest.mark.parametrize("per_class", [3, 500])
def test_the_sizes_are_the_largest_of_any_round(tmp_path, per_class):
    path = tmp_path / "dataset"
    artifact.start_or_resume(path, {"settings": {"images_per_class": per_class}})
    found = control.largest_sizes(
        Sizes(labeled=50, pseudo_labeled=700), str(path), num_classes=10
    )
    assert found == Sizes(labeled=50, pseudo_labeled=max(700, 10 * per_class))


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_the_control_computes_as_much_as_the_chain_and_at_most_a_step_more(rounds):
    """The chain, stage by stage; later students have a larger batch and more steps."""
    network, images = 2_545_000, 1_797
    chain = teachers = 3 * 800 * 32 * 3 * network + 3 * images * network
    students = []
    for number in range(1, rounds + 1):
        batch, steps = (32, 1_600) if number == 1 else (64, 900)
        if number > 1:
            chain += images * network
        chain += steps * batch * 3 * network
        students.append(
            dataclasses.replace(
                presets.find("tiny"), global_batch_size=batch, num_steps=steps
            )
        )
    spent = control.Spent(multiply_adds=float(teachers), num_images=images)
    found = control.find_steps(spent, students, of_image=network)
    of_step = 3 * 32 * network
    assert chain <= found * of_step < chain + of_step
