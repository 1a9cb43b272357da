"""What is wrong with the settings of a run, found before any work.

Presets and flags are compared with those that the stages accept; TensorFlow is not
imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from beam_jobs import label_images, select_labels
from classifier.data import source_forms
from classifier.training import presets as teacher_presets
from classifier.training.config import override_recipe, refuse_consistency
from stage import artifact
from stage.flags import (
    CommandFlags,
    join_values,
    lies_in_source,
    split_source,
)
from stage.validation import check
from student import train as student_train
from student.training import presets as student_presets
from student.training.config import check_assignments
from teacher import probe as teacher_probe
from teacher import train as teacher_train
from workflow.run_file.config import AUTO, RunConfig
from workflow.run_file.reading import flat_settings

#: Goals that need labeled images alone.
LABELED_GOALS = ("teacher", "calibration")
#: Settings of `data` that are sources of images.
SOURCES = ("labeled", "evaluation", "unlabeled", "calibration")
#: Fingerprint of the files of a source: "" if there are none, None if it is unknown.
FindFiles: TypeAlias = Callable[[str], str | None]


def check_run(
    config: RunConfig, *, goal: str, number: int, find_files: FindFiles
) -> None:
    """Raises ValueError or OSError if a stage would refuse what the run file says.

    Args:
        config: Settings of the run.
        goal: What is to be made, such as `report`.
        number: Round of the goal.
        find_files: Returns the fingerprint of a source's files.
    """
    _check_images(config, goal=goal, number=number)
    _check_output(config)
    _check_apart(config, find_files)
    _check_teacher(config)
    _check_student(config)
    with _naming("labeling.flags"):
        label_images.FLAGS.check(join_values(config.labeling.flags))
    with _naming("selection.flags"):
        select_labels.FLAGS.check(join_values(config.selection.flags))
    if config.runner.name == "dataflow":
        _check_dataflow(config, labels=goal not in LABELED_GOALS or number > 1)


def check_files(config: RunConfig, specs: Iterable[str], find_files: FindFiles) -> None:
    """Raises ValueError if there are no files of a source that is to be read."""
    data = config.data
    names = dict.fromkeys(data.exclude or (), "data.exclude")
    names |= {getattr(data, name): f"data.{name}" for name in SOURCES}
    for spec in specs:
        if spec == data.class_names and (find_files(spec) == "" or os.path.isdir(spec)):
            raise ValueError(
                f"data.class_names = {spec}: no such file; expected names, a line each"
            )
        if spec in names:
            _check_source(names[spec], spec, find_files)


def _check_source(name: str, spec: str, find_files: FindFiles) -> None:
    """Raises ValueError as the command that reads a source would."""
    if find_files(spec) is None:
        return
    try:
        source_forms.find_form(spec)
        if find_files(spec) == "":
            source_forms.check_files(spec)
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} = {error}") from error


def _check_images(config: RunConfig, *, goal: str, number: int) -> None:
    """Raises ValueError if images are not given that are needed."""
    teacher, digits = config.teacher, config.data.digits
    check(
        not digits.labels_per_class
        or AUTO not in (teacher.preset, config.student.preset),
        "expected teacher.preset = tiny, or another recipe, with data.digits: auto "
        "chooses by images that are there before",
    )
    needed = ["labeled", "evaluation"]
    if goal not in LABELED_GOALS or number > 1 or teacher.consistency == "on":
        needed.append("unlabeled")
    hints = {
        "evaluation": "; it may be left out if data.labeled is a folder that is there, "
        f"got {config.data.labeled}",
        "unlabeled": "; without, --until=teacher trains the teacher alone",
    }
    for name in needed:
        is_given = bool(getattr(config.images, name))
        hint = hints.get(name, "")
        check(is_given, f"expected data.{name}, a source of images, got none{hint}")


def _check_output(config: RunConfig) -> None:
    """Raises ValueError if the run cannot be made where it is to be."""
    check(
        "://" not in config.output,
        f"expected output as a directory of this machine, got {config.output}",
    )
    artifact.check_directory(config.output)
    for spec in (getattr(config.data, name) for name in SOURCES):
        form, _ = split_source(spec)
        check(
            not spec
            or not lies_in_source(config.output, spec if form else f"folder:{spec}"),
            f"the output {config.output} lies in {spec}, and would be read with it; "
            "use another output",
        )


def _check_apart(config: RunConfig, find_files: FindFiles) -> None:
    """Raises ValueError if the same labeled images are to be learned and tested."""
    given = [
        (f"data.{name}", getattr(config.data, name))
        for name in ("labeled", "evaluation", "calibration")
    ]
    for (first, spec), (second, other) in itertools.combinations(given, 2):
        # Splits of a dataset have the same files.
        is_split = spec.startswith(("tfds:", "hf:"))
        has_same = not is_split and _have_same(spec, other, find_files)
        check(
            not (spec and other and (spec == other or has_same)),
            f"expected different images as {first} and {second}, got {other} as both: "
            "a classifier is measured on images that it has not learned from",
        )


def _have_same(spec: str, other: str, find_files: FindFiles) -> bool:
    return bool(spec and other and find_files(spec)) and (
        find_files(spec) == find_files(other)
    )


def _check_teacher(config: RunConfig) -> None:
    teacher = config.teacher
    _check_preset("teacher.preset", teacher.preset, teacher_presets)
    if teacher.features:
        with _naming("teacher.flags"):
            teacher_probe.FLAGS.check(_words(teacher))
        return
    _, given = _check_recipe("teacher", teacher, teacher_train.FLAGS, teacher_presets)
    if teacher.consistency == "off":
        with _naming("teacher.consistency"):
            refuse_consistency(given, "consistency is off")


def _check_student(config: RunConfig) -> None:
    # Without one of its own, the student has the teacher's.
    preset = config.student.preset or config.teacher.preset
    student = dataclasses.replace(config.student, preset=preset)
    _check_preset("student.preset", preset, student_presets)
    recipe, given = _check_recipe(
        "student", student, student_train.FLAGS, student_presets
    )
    with _naming("student.settings"):
        check_assignments(recipe, given)


def _words(section: Any) -> list[str]:
    settings = (f"--set={s}" for s in flat_settings(section.settings))
    return [*settings, *join_values(section.flags)]


def _check_recipe(
    name: str, section: Any, flags: CommandFlags, presets: Any
) -> tuple[Any, list[str]]:
    """Returns a recipe and the settings that change it; ValueError for wrong ones."""
    with _naming(f"{name}.settings or {name}.flags"):
        given = flags.check([f"--preset={_known(section.preset)}", *_words(section)])
        assignments = given["set"].value
        recipe = override_recipe(presets.find(given["preset"].value), assignments)
    return recipe, assignments


def _check_preset(name: str, preset: str, presets: Any) -> None:
    try:
        presets.find(_known(preset))
    except ValueError as error:
        raise ValueError(f"{name}: {error}, or {AUTO}") from error


def _known(preset: str) -> str:
    """Returns a preset whose settings are those of the one that is chosen."""
    return "tiny" if preset == AUTO else preset


def _check_dataflow(config: RunConfig, *, labels: bool) -> None:
    images = config.images
    check(
        not labels or "gs://" in f"{images.unlabeled} {images.data_dir}",
        f"expected data.unlabeled in a bucket (gs://), got {images.unlabeled}: "
        "Dataflow reads no others",
    )
    check(
        not {"", ".", ".."} & set(config.output.split("/")),
        "expected output as a path below the working directory, such as runs/birds, "
        f"got {config.output}: it is mirrored in {config.runner.dataflow.bucket_path}",
    )


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Puts the setting before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
