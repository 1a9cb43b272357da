"""The commands of single stages, as sub-commands that pass their flags on."""

from __future__ import annotations

import importlib
import os
import sys

import click
from click.shell_completion import CompletionItem

from workflow.chain import process

#: Module of each command of a stage, and what it does.
STAGES = {
    "train-teacher": ("teacher.train", "Train a teacher on labeled images."),
    "probe": ("teacher.probe", "Train a linear classifier on pretrained features."),
    "calibrate": ("teacher.calibrate", "Calibrate a teacher on labeled images."),
    "label": ("beam_jobs.label_images", "Label all images with a teacher."),
    "propagate": (
        "beam_jobs.propagate_labels",
        "Blend predictions with the labels of similar images.",
    ),
    "select": ("beam_jobs.select_labels", "Select the best labels of every class."),
    "write": ("beam_jobs.write_records", "Write the selected images as TFRecords."),
    "verify": ("pseudo_label.verify", "Count a dataset again."),
    "train-student": ("student.train", "Train a student, or the control."),
    "evaluate": ("student.evaluate", "Evaluate a student beside its teacher."),
    "predict": ("classifier.predict", "Print the classes of images."),
    "export": ("classifier.export_model", "Write a classifier for other programs."),
}
#: What a run can be made up to; those of `workflow.stages`, which imports more.
GOALS = (
    *("teacher", "calibration", "labels", "selection", "records", "student"),
    *("evaluation", "samples", "control", "report"),
)


class _StageCommand(click.Command):
    """A command whose flags are those of a module."""

    def __init__(self, name: str, module: str, text: str) -> None:
        settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        super().__init__(
            name,
            help=text,
            add_help_option=False,
            context_settings=settings,
            params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        )
        self.module = module

    def invoke(self, context: click.Context) -> None:
        """Replaces this process by that of the module."""
        arguments = context.params["arguments"]
        sys.stdout.flush()
        command = [sys.executable, "-m", self.module, *arguments]
        os.execve(sys.executable, command, process.environment())

    def shell_complete(
        self, context: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        """Returns the flags that begin as what was typed."""
        if not incomplete.startswith("-"):
            return []
        flags = importlib.import_module(self.module).FLAGS.values
        names = sorted(f"--{name}=" for name in flags)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def find(name: str) -> click.Command | None:
    """Returns the command of a stage; None if there is none of this name."""
    if name not in STAGES:
        return None
    module, text = STAGES[name]
    return _StageCommand(name, module, text)
