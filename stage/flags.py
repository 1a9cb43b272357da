"""Command-line flags: those of one command, and those that several commands share.

A command creates one `CommandFlags` and asks it for its flags. A flag that two commands
have is defined here. The flags of each command are in an absl `FlagValues` of its own,
so that one process can import, and run, several commands.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

from absl import flags

#: A flag; its `value` may be read once the command line is parsed.
Flag: TypeAlias = flags.FlagHolder

#: Former names of flags, and the present ones.
RENAMED = {"precision": "dtype"}

_SOURCES = "tfds:NAME:SPLIT, folder:PATH or tfrecord:GLOB"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceFlags:
    """How labeled images are read."""

    data_dir: Flag
    class_names: Flag

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of `classifier.data.sources.open_source`."""
        return {
            "data_dir": self.data_dir.value,
            "class_names_file": self.class_names.value,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingDataFlags:
    """Labeled images to train on and to evaluate on."""

    labeled: Flag
    evaluation: Flag
    source: SourceFlags

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of `classifier.training.trainer.open_sources`."""
        return {
            "labeled": self.labeled.value,
            "evaluation": self.evaluation.value,
            **self.source.arguments(),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """Recipe, hardware and directory of a training run."""

    preset: Flag
    set: Flag
    seed: Flag
    workdir: Flag
    init_from: Flag
    new_head: Flag
    backend: Flag
    distributed: Flag
    profile: Flag


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """The images that a job reads."""

    images: Flag
    image_feature: Flag
    data_dir: Flag

    def arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of `classifier.data.sources.open_source`."""
        return {
            "data_dir": self.data_dir.value,
            "image_feature": self.image_feature.value,
        }


class CommandFlags:
    """The flags of one command.

    Args:
        mixed: Whether flags may follow other arguments.
    """

    def __init__(self, *, mixed: bool = False) -> None:
        self.values = flags.FlagValues()
        self.values.set_gnu_getopt(mixed)

    def parse(self, argv: Sequence[str]) -> list[str]:
        """Parses a command line; an earlier one has no effect on the values.

        Returns:
            The program's name and the arguments that are no flags.

        Raises:
            SystemExit: If a flag is unknown, missing or malformed.
        """
        self.values.unparse_flags()
        return self._parse(self.values, argv)

    def parse_program(self, argv: Sequence[str]) -> list[str]:
        """Parses the process's command line, absl's own flags and `--help` included.

        See `parse`. Can be called once in a process.
        """
        flags.FLAGS.append_flag_values(self.values)
        for name in self.values:
            flags.FLAGS.register_flag_by_module(sys.argv[0], self.values[name])
        flags.FLAGS.set_gnu_getopt(self.values.is_gnu_getopt())
        arguments = self._parse(flags.FLAGS, argv)
        self.values.mark_as_parsed()
        return arguments

    def _parse(self, values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
        try:
            return values(argv)
        except flags.UnrecognizedFlagError as error:
            new_name = RENAMED.get(error.flagname)
            if new_name in self.values:
                sys.exit(f"error: --{error.flagname} was renamed: use --{new_name}")
            _exit(error)
        except flags.Error as error:
            _exit(error)

    # Kinds of flags, for those that only one command has.

    def string(
        self, name: str, default: str | None, text: str, *, required: bool = False
    ) -> Flag:
        """Defines a flag whose value is a string."""
        return flags.DEFINE_string(
            name, default, text, flag_values=self.values, required=required
        )

    def strings(
        self, name: str, default: Sequence[str], text: str, *, required: bool = False
    ) -> Flag:
        """Defines a flag that may be repeated; its value is a list of strings."""
        return flags.DEFINE_multi_string(
            name,
            None if required else list(default),
            text.removesuffix("."),  # absl continues the sentence.
            flag_values=self.values,
            required=required,
        )

    def integer(
        self, name: str, default: int | None, text: str, **bounds: int | None
    ) -> Flag:
        """Defines a flag whose value is an integer; see `lower_bound` in absl."""
        return flags.DEFINE_integer(
            name, default, text, flag_values=self.values, **bounds
        )

    def number(
        self, name: str, default: float | None, text: str, **bounds: float | None
    ) -> Flag:
        """Defines a flag whose value is a float; see `lower_bound` in absl."""
        return flags.DEFINE_float(
            name, default, text, flag_values=self.values, **bounds
        )

    def boolean(self, name: str, text: str) -> Flag:
        """Defines a flag that is off unless given."""
        return flags.DEFINE_bool(name, False, text, flag_values=self.values)

    # Flags that several commands have, alone ...

    def output(self, text: str, *, required: bool = True) -> Flag:
        """Defines `--output`, which is what the command makes."""
        return self.string("output", None, text, required=required)

    def workdir(self, text: str = "Directory of the classifier to make.") -> Flag:
        """Defines `--workdir`, the directory of a training run."""
        return self.string("workdir", None, text, required=True)

    def run(self, text: str, *, required: bool = True) -> Flag:
        """Defines `--run`, the directory of all files of a run."""
        return self.string("run", None, text, required=required)

    def evaluation(self) -> Flag:
        """Defines `--evaluation`, labeled images that are never trained on."""
        text = f"Labeled images to evaluate on, never trained on: {_SOURCES}."
        return self.string("evaluation", None, text, required=True)

    def data_dir(self) -> Flag:
        """Defines `--data_dir`, where TFDS finds datasets."""
        return self.string(
            "data_dir", None, "Directory of TFDS datasets; TFDS's own if not given."
        )

    def class_names(self, use: str) -> Flag:
        """Defines `--class_names`, a text file."""
        text = f"Text file with one class name a line; {use}."
        return self.string("class_names", None, text)

    def preset(self, default: str | None, presets: Iterable[str]) -> Flag:
        """Defines `--preset`, the recipe before `--set`."""
        text = (
            f"Recipe to start from: {', '.join(presets)}, or any resnet_rs_DEPTH or "
            "resnet_rs_DEPTH_SIZE."
        )
        return self.string("preset", default, text)

    def set(self, example: str) -> Flag:
        """Defines `--set`, which changes one setting of a recipe."""
        return self.strings("set", (), f"A setting of the recipe, such as {example}.")

    def seed(self, effect: str, **bounds: int) -> Flag:
        """Defines `--seed`."""
        return self.integer("seed", 0, f"Random seed of {effect}.", **bounds)

    def backend(self, backends: Sequence[str]) -> Flag:
        """Defines `--backend`, what trains."""
        return flags.DEFINE_enum(
            "backend",
            backends[0],
            backends,
            "tensorflow for the CPU or one GPU; jax for TPUs, several GPUs, or the "
            "CPU.",
            flag_values=self.values,
        )

    def members(self, name: str, *, required: bool = True, of: str = "") -> Flag:
        """Defines a flag for the directories of one classifier or of an ensemble."""
        text = (
            f"Directory of a trained classifier{of}. If repeated, the probabilities "
            "of all are averaged."
        )
        return self.strings(name, (), text, required=required)

    def student(self) -> Flag:
        """Defines `--student`, the directory of a trained student."""
        text = "Directory of the trained student."
        return self.string("student", None, text, required=True)

    def pseudo_labeled(self, absent: str) -> Flag:
        """Defines `--pseudo_labeled`, a dataset of pseudo-labeled images."""
        text = f"Dataset made by beam_jobs.write_records; {absent}."
        return self.string("pseudo_labeled", None, text)

    def predictions(self, *, moved: bool = False) -> Flag:
        """Defines `--predictions`, required unless it says where they `moved`."""
        return self._input("predictions", "beam_jobs.label_images", moved)

    def selection(self, *, moved: bool = False) -> Flag:
        """Defines `--selection`, required unless it says where it `moved`."""
        return self._input("selection", "beam_jobs.select_labels", moved)

    def _input(self, name: str, command: str, moved: bool) -> Flag:
        text = f"Directory that {command} has made."
        if moved:
            text = f"Present directory of the {name}, if moved since."
        return self.string(name, None, text, required=not moved)

    def calibration(self, use: str) -> Flag:
        """Defines `--calibration`, what is known of the teachers' errors."""
        text = f"Directory that teacher.calibrate has made, {use}."
        return self.string("calibration", None, text)

    def exclude(self, text: str) -> Flag:
        """Defines `--exclude`, predictions of images that must not be selected."""
        return self.strings("exclude", (), text)

    def num_shards(self, default: int, text: str, **bounds: int) -> Flag:
        """Defines `--num_shards`, the number of files to write."""
        return self.integer("num_shards", default, text, **bounds)

    def top_k(self, default: int, text: str) -> Flag:
        """Defines `--top_k`, the number of classes of each image."""
        return self.integer("top_k", default, text, lower_bound=1)

    # ... and in groups.

    def source(self) -> SourceFlags:
        """Defines `--data_dir` and `--class_names`."""
        return SourceFlags(
            data_dir=self.data_dir(), class_names=self.class_names("for tfrecord:")
        )

    def training_data(self) -> TrainingDataFlags:
        """Defines `--labeled`, `--evaluation` and how they are read."""
        text = f"Labeled images: {_SOURCES}; a folder has a sub-folder for each class."
        return TrainingDataFlags(
            labeled=self.string("labeled", None, text, required=True),
            evaluation=self.evaluation(),
            source=self.source(),
        )

    def training(
        self, presets: Iterable[str], backends: Sequence[str], *, example: str
    ) -> TrainingFlags:
        """Defines the flags of a training run.

        Args:
            presets: Names of presets.
            backends: Names of backends, the default first.
            example: An assignment for `--set`.
        """
        return TrainingFlags(
            preset=self.preset("tiny", presets),
            set=self.set(example),
            seed=self.seed("weights, data order and noise"),
            workdir=self.workdir(),
            init_from=self.string(
                "init_from",
                None,
                "Initial weights: the directory of a classifier, or resnet_rs_h5:PATH "
                "for a weights file of tf_keras.applications.resnet_rs.",
            ),
            new_head=self.boolean(
                "new_head", "Initialize the last layer anew, for other classes."
            ),
            backend=self.backend(backends),
            distributed=self.string(
                "distributed",
                None,
                "With --backend=jax, if the same command runs on several hosts: auto "
                "on a TPU pod slice, else HOST:PORT,COUNT,INDEX with the address of "
                "process 0.",
            ),
            profile=self.boolean(
                "profile", "Write a trace of a few steps for TensorBoard."
            ),
        )

    def image_source(self, text: str) -> ImageFlags:
        """Defines `--images` and how they are read."""
        return ImageFlags(
            images=self.string("images", None, text, required=True),
            image_feature=self.string(
                "image_feature",
                None,
                "Feature of a record that holds the encoded image, if not the usual.",
            ),
            data_dir=self.data_dir(),
        )


def _exit(error: flags.Error) -> NoReturn:
    message = " ".join(str(error).split())
    sys.exit(f"error: {message}\nPass --help to see the flags of this command.")
