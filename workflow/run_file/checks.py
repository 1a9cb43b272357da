"""What is wrong with the settings of a run, found before any work.

Presets and flags are compared with those that the stages accept; TensorFlow is not
imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from beam_jobs import select_labels
from classifier.training import presets as teacher_presets
from classifier.training.config import refuse_consistency
from stage.flags import CommandFlags, lies_in_source
from stage.overrides import override_all
from stage.validation import check
from student import train as student_train
from student.training import presets as student_presets
from student.training.config import StudentConfig, check_assignments
from teacher import probe as teacher_probe
from teacher import train as teacher_train
from workflow.run_file.config import AUTO, RunConfig
from workflow.run_file.reading import flat_settings

#: Goals that need labeled images alone.
LABELED_GOALS = ("teacher", "calibration")
#: Settings that are sources of images.
SOURCES = ("labeled", "evaluation", "unlabeled", "calibration")


def check_run(
    config: RunConfig,
    *,
    goal: str,
    number: int,
    find_files: Callable[[str], str | None],
) -> None:
    """Raises ValueError if a stage would refuse what the run file says.

    Args:
        config: Settings of the run.
        goal: What is to be made, of `stages.GOALS`.
        number: Round of the goal.
        find_files: Returns a fingerprint of a source's files, "" if there are none.
    """
    images = config.images
    needed = ["labeled", "evaluation"]
    if goal not in LABELED_GOALS or number > 1 or config.teacher.consistency == "on":
        needed.append("unlabeled")
    for name in needed:
        check(bool(getattr(images, name)), f"expected data.{name}, got none")
    for name in SOURCES:
        spec = getattr(images, name)
        check(
            find_files(spec) != "" if spec else True, f"data.{name}: {spec}: no files"
        )
    for spec in (getattr(images, name) for name in SOURCES):
        check(
            not lies_in_source(config.output, spec),
            f"the output {config.output} lies in {spec}, and would be read with it; "
            "use another output",
        )
    _check_teacher(config)
    _check_student(config)
    with _naming("selection.flags"):
        select_labels.FLAGS.check(config.selection.flags)
    if config.runner.name == "dataflow":
        _check_dataflow(config, labels=goal not in LABELED_GOALS or number > 1)


def _check_teacher(config: RunConfig) -> None:
    teacher = config.teacher
    _check_preset("teacher.preset", teacher.preset, teacher_presets)
    if teacher.features:
        with _naming("teacher.flags"):
            teacher_probe.FLAGS.check(_words(teacher))
        return
    given = _check_recipe("teacher", teacher, teacher_train.FLAGS, teacher_presets)
    if teacher.consistency == "off":
        with _naming("teacher.consistency"):
            refuse_consistency(given["set"].value, "consistency is off")


def _check_student(config: RunConfig) -> None:
    student = config.student
    _check_preset("student.preset", student.preset, student_presets)
    given = _check_recipe("student", student, student_train.FLAGS, student_presets)
    with _naming("student.settings"):
        recipe = student_presets.find(given["preset"].value)
        if isinstance(recipe, StudentConfig):
            check_assignments(recipe, given["set"].value)


def _words(section: Any) -> list[str]:
    return [*(f"--set={s}" for s in flat_settings(section.settings)), *section.flags]


def _check_recipe(name: str, section: Any, flags: CommandFlags, presets: Any) -> Any:
    """Raises ValueError for settings that the recipe has not; returns the flags."""
    with _naming(f"{name}.settings or {name}.flags"):
        given = flags.check([f"--preset={_known(section.preset)}", *_words(section)])
        override_all(presets.find(given["preset"].value), given["set"].value)
    return given


def _check_preset(name: str, preset: str, presets: Any) -> None:
    try:
        presets.find(_known(preset))
    except ValueError as error:
        raise ValueError(f"{name}: {error}, or {AUTO}") from error


def _known(preset: str) -> str:
    """Returns a preset whose settings are those of the one that is chosen."""
    return "tiny" if preset in ("", AUTO) else preset


def _check_dataflow(config: RunConfig, *, labels: bool) -> None:
    images = config.images
    check(
        not labels or "gs://" in f"{images.unlabeled} {images.data_dir}",
        f"expected data.unlabeled in a bucket (gs://), got {images.unlabeled}: "
        "Dataflow reads no others",
    )
    parts = config.output.split("/")
    check(
        not ({"", ".", ".."} & set(parts)) and "://" not in config.output,
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
