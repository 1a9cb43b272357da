import dataclasses

import pytest

from workflow.report.analysis.run_differences import (
    RunFacts,
    StageFacts,
    find_differences,
)


def make(directory, seed=1, labeled="folder:birds", content="ab", rounds=1, **flags):
    """A run whose directory and seed are in its commands, as the Makefile has them."""
    more = [f"--{name}={value}" for name, value in flags.items()]
    stages = [
        StageFacts(
            name="round-1/teacher/member-1",
            command=(
                *("-m", "teacher.train", f"--labeled={labeled}", f"--seed={seed}1"),
                f"--unlabeled=tfrecord:{directory}/data/*.tfrecord",
                f"--workdir={directory}/round-1/teacher/member-1",
            ),
            fingerprints={"labeled.content": content * 32},
        )
    ]
    for number in range(1, rounds + 1):
        name = f"round-{number}/selection"
        directories = (
            f"--predictions={directory}/round-{number}/predictions",
            f"--output={directory}/{name}",
        )
        command = ("-m", "select", *directories, *more, "--", "--runner=Any")
        stages.append(StageFacts(name=name, command=command))
    return RunFacts(seed=seed, stages=tuple(stages))


def settings(*runs):
    return {found.setting: found.values for found in find_differences(runs)}


def test_draws_of_one_experiment_do_not_differ():
    first = make("runs/seeds/seed-1", 1, "tfds:digits/labels5_seed1:labeled", "ab")
    second = make("runs/seeds/seed-2", 2, "tfds:digits/labels5_seed2:labeled", "cd")
    assert settings(first, second) == {}
    assert settings(first) == {}


def test_a_stage_that_was_taken_over_names_another_directory():
    first, second = (make(name, confidence_threshold=0.5) for name in ("a", "b/c"))
    mixed = dataclasses.replace(second, stages=(first.stages[0], second.stages[1]))
    assert settings(first, mixed) == {}


def test_another_seed_in_a_name_is_another_set_of_images():
    first = make("a", 1, "tfds:digits/labels5_seed1:labeled")
    second = make("b", 2, "tfds:digits/labels5_seed1:labeled")
    assert len(settings(first, second)) == 1


def test_a_changed_setting_is_named_with_its_values():
    first, second = (
        make(name, confidence_threshold=t) for name, t in (("a", 0.5), ("b", 0.9))
    )
    assert settings(first, second) == {"select --confidence_threshold": ("0.5", "0.9")}
    third = make("c")
    assert settings(first, third) == {
        "select --confidence_threshold": ("0.5", "not given")
    }


def test_a_setting_of_a_recipe_is_one_of_its_own():
    first = make("a", set="num_steps=50")
    second = make("b", set="num_steps=100")
    assert settings(first, second) == {"select --set=num_steps": ("50", "100")}


@pytest.mark.parametrize("changed", [{"labeled": "folder:fish"}, {"content": "cd"}])
def test_other_images_come_first(changed):
    runs = make("a", max_copies=1), make("b", max_copies=3, **changed)
    first, second = find_differences(runs)
    assert first.setting == "teacher.train --labeled"
    assert (first.is_of_images, second.is_of_images) == (True, False)


def test_more_rounds_are_no_other_setting():
    runs = make("a", rounds=1), make("b", rounds=3)
    assert settings(*runs) == {}
    runs = make("a", rounds=2, max_copies=1), make("b", rounds=3, max_copies=2)
    assert settings(*runs) == {"select --max_copies": ("1", "2")}


def test_another_command_is_named():
    first, second = make("a"), make("b")
    teacher, *others = second.stages
    probe = dataclasses.replace(teacher, command=("-m", "teacher.probe"))
    second = dataclasses.replace(second, stages=(probe, *others))
    assert settings(first, second)["command of round-1/teacher/member-1"] == (
        "teacher.train",
        "teacher.probe",
    )


def test_a_report_without_commands_differs_in_nothing():
    assert settings(RunFacts(seed=1), make("b")) == {}
