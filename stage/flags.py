"""Command-line flags: those of one command, and those that several commands share.

A command creates one `CommandFlags` and asks it for its flags. A flag that two commands
have is defined here. The flags of each command are in an absl `FlagValues` of its own,
so that one process can import, and run, several commands.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import re
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from absl import flags

from stage import overrides
from stage.system import is_within
from stage.text import printable

#: A flag; its `value` may be read once the command line is parsed.
Flag: TypeAlias = flags.FlagHolder

#: Former names of flags, and the present ones.
RENAMED = {"precision": "dtype", "json": "format=json"}
#: Flags for the output directory of another command, and that command.
ARTIFACTS = {
    "calibration": "teacher.calibrate, or teacher.probe in WORKDIR/calibration,",
    "predictions": "beam_jobs.label_images, propagate_labels or relabel",
    "selection": "beam_jobs.select_labels",
    "pseudo_labeled": "beam_jobs.write_records",
    "student": "student.train",
}

#: What a source of images begins with, before a colon.
SOURCE_KINDS = ("tfds", "folder", "tfrecord", "webdataset", "parquet", "csv", "hf")
#: Name and split of a TFDS dataset; a split may have colons, too.
_DATASET = re.compile(r"^(.+?)(:[^:/][^/]*)$")
#: The forms of a source of images.
SOURCES = (
    "folder:PATH, csv:FILE, parquet:GLOB, tfrecord:GLOB, webdataset:GLOB, "
    "tfds:NAME:SPLIT, hf:OWNER/NAME:SPLIT or a path of a folder or file"
)


#: Largest random seed: NumPy has 32 bits for it.
MAX_SEED = 2**32 - 1
#: Most files of a TFDS dataset, whose numbers have five digits.
MAX_SHARDS = 99_999
#: Flags for what a command makes.
_OUTPUTS = ("output", "workdir")
#: Flags for a directory of predictions, rules or images, all files of which are read.
_INPUTS = (
    *("predictions", "labeled", "selection", "calibration"),
    *("images", "evaluation", "unlabeled"),  # Which may be plain paths, too.
)
_HINT = "Pass --help to see the flags of this command."


class FlagGroup(types.SimpleNamespace):
    """Flags as attributes, named like the arguments of the function they are for."""

    def arguments(self) -> dict[str, Any]:
        """Returns the values of all flags as keyword arguments."""
        return {name: flag.value for name, flag in vars(self).items()}


class _FiniteParser(flags.FloatParser):
    """Numbers that are neither infinite nor NaN."""

    def convert(self, argument: Any) -> float:
        """Returns the number of a text; raises ValueError if it is none."""
        value: float = super().convert(argument)
        if not math.isfinite(value):
            raise ValueError("expected a finite number")
        return value


def _define_number(
    name: str,
    default: float | None,
    help_text: str,
    *,
    flag_values: flags.FlagValues,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
) -> Flag:
    return flags.DEFINE(
        _FiniteParser(lower_bound, upper_bound),
        name,
        default,
        help_text,
        flag_values,
        flags.ArgumentSerializer(),
    )


class CommandFlags:
    """The flags of one command.

    `string`, `strings`, `integer`, `number`, `boolean` and `choice` define a flag that
    only this command has, with absl's arguments: name, default, help text and so on.
    """

    def __init__(self) -> None:
        self.values = flags.FlagValues()
        self._required: list[str] = []
        self.string = functools.partial(self._define, flags.DEFINE_string)
        self.strings = functools.partial(self._define, _define_strings)
        self.integer = functools.partial(self._define, flags.DEFINE_integer)
        self.number = functools.partial(self._define, _define_number)
        self.boolean = functools.partial(self._define, flags.DEFINE_bool)
        self.choice = functools.partial(self._define, flags.DEFINE_enum)

    def alias(self, name: str, original: str) -> None:
        """Defines another name of a flag."""
        flags.DEFINE_alias(name, original, flag_values=self.values)

    def parse(self, argv: Sequence[str], *, hint: str = _HINT) -> list[str]:
        """Parses a command line; an earlier one has no effect on the values.

        Returns the program's name and the arguments that are no flags; exits if a flag
        is unknown, missing or malformed, with a hint where to find the flags.
        """
        self.values.unparse_flags()
        return self._parse(self.values, argv, hint)

    def check(self, words: Sequence[str]) -> flags.FlagValues:
        """Returns the values of some flags; raises ValueError for what parse refuses.

        No flag need be given. absl's own are not checked.
        """
        self.values.unparse_flags()
        try:
            self.values(["", *words])
        except flags.Error as error:
            if getattr(error, "flagname", "") not in flags.FLAGS:
                raise ValueError(self._explain(error)) from error
            self.values.mark_as_parsed()
        return self.values

    def parse_program(self, argv: Sequence[str]) -> list[str]:
        """Parses the process's command line, absl's own flags and `--help` included.

        See `parse`. Can be called once in a process.
        """
        flags.FLAGS.append_flag_values(self.values)
        for name in self.values:
            flags.FLAGS.register_flag_by_module(sys.argv[0], self.values[name])
        arguments = self._parse(flags.FLAGS, argv)
        self.values.mark_as_parsed()
        return arguments

    def _define(
        self,
        define: Callable[..., Flag],
        name: str,
        *details: Any,
        **more: Any,
    ) -> Flag:
        if more.pop("required", False):
            self._required.append(name)
        return define(name, *details, flag_values=self.values, **more)

    def _parse(
        self, values: flags.FlagValues, argv: Sequence[str], hint: str = _HINT
    ) -> list[str]:
        try:
            rest = values(argv)
        except SystemExit:  # Of --help and its like, which absl ends with status 1.
            sys.exit(0)
        except flags.Error as error:
            name = getattr(error, "flagname", "")
            new_name = RENAMED.get(name, "")
            if new_name.partition("=")[0] in self.values:
                sys.exit(f"error: --{name} was renamed: use --{new_name}")
            sys.exit(f"error: {self._explain(error)}\n{hint}")

        for name in self.values:
            _check_not_blank(name, self.values[name].value, name in self._required)
        missing = [
            f"--{name}=" for name in self._required if self.values[name].value is None
        ]
        if missing:
            sys.exit(f"error: missing {', '.join(missing)}\n{hint}")
        self._check_apart()
        return rest

    def _check_apart(self) -> None:
        """Exits if the output is in a directory of which all files are read."""
        texts = [
            (name, text)
            for name in self.values
            for text in _as_list(self.values[name].value)
            if isinstance(text, str)
        ]
        for (name, spec), (output, path) in itertools.product(texts, texts):
            if output in _OUTPUTS and (
                lies_in_source(path, spec)
                or (name in _INPUTS and is_within(path, spec))
            ):
                line = (
                    f"error: --{output}={path} lies in --{name}={spec}, and would be "
                    "read with it; choose a directory outside"
                )
                sys.exit(printable(line))

    def _explain(self, error: flags.Error) -> str:
        """Returns what is wrong with a flag, without words of Python's functions."""
        message = printable(" ".join(str(error).split()))
        match = re.fullmatch(
            r"flag --(\w+)=(.*): (invalid|could not convert) .*", message
        )
        if match is None or match[1] not in self.values:
            return message
        expected = self.values[match[1]].parser.syntactic_help
        return f"--{match[1]}: expected {expected}, got {match[2]!r}"

    # Single flags that several commands have.

    def output(self, text: str, *, required: bool = True) -> Flag:
        """Defines `--output`, the path of what the command makes."""
        return self.string("output", None, text, required=required)

    def workdir(self, text: str = "Directory of the classifier to make.") -> Flag:
        """Defines `--workdir`, the directory of a training run."""
        return self.string("workdir", None, text, required=True)

    def run(self, text: str, *, required: bool = True) -> Flag:
        """Defines `--run`, the directory of all files of a run."""
        return self.string("run", None, text, required=required)

    def artifact(self, name: str, use: str = "", *, required: bool = True) -> Flag:
        """Defines a flag for the output directory of another command."""
        text = f"Directory that {ARTIFACTS[name]} has made{use}."
        return self.string(name, None, text, required=required)

    def members(self, name: str, use: str = "", *, required: bool = True) -> Flag:
        """Defines a flag for the directories of one classifier or of an ensemble."""
        text = (
            f"Directory of a trained classifier{use}. If repeated, the probabilities "
            "of all are averaged"
        )
        return self.strings(name, None if required else [], text, required=required)

    def evaluation(self) -> Flag:
        """Defines `--evaluation`, labeled images that are never trained on."""
        text = f"Labeled images to evaluate on, never trained on: {SOURCES}."
        return self.string("evaluation", None, text, required=True)

    def data_dir(self) -> Flag:
        """Defines `--data_dir`, where TFDS finds datasets."""
        text = "Directory of TFDS datasets; TFDS's own if not given."
        return self.string("data_dir", None, text)

    def image_feature(self) -> Flag:
        """Defines `--image_feature`, where the records of a source hold the image."""
        flag = self.string(
            "image_feature",
            None,
            "Feature of a record, or column of a table, that holds the encoded image "
            "(in a CSV file its path), if not the usual; extension of its member in a "
            "tar file.",
        )
        self.alias("image_column", "image_feature")
        return flag

    def label_feature(self, use: str = "") -> Flag:
        """Defines `--label_feature`, where the records of a source hold the label."""
        flag = self.string(
            "label_feature",
            None,
            "Feature of a record, or column of a table, that holds the label, if not "
            f"the usual; extension of its member in a tar file{use}.",
        )
        self.alias("label_column", "label_feature")
        return flag

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
        text = f"A setting of the recipe, such as {example}; {overrides.LISTED}"
        return self.strings("set", [], text)

    def log_to(self) -> Flag:
        """Defines `--log_to`, what receives the figures, see `tracking.parse`."""
        return self.strings(
            "log_to",
            [],
            "Where to send settings and figures, besides TensorBoard's events: "
            "mlflow:URI, such as mlflow:http://localhost:5000 or "
            "mlflow:sqlite:///runs/mlflow.db, or wandb:PROJECT. Decides nothing",
        )

    def seed(self, effect: str, **bounds: int) -> Flag:
        """Defines `--seed`."""
        bounds = {"lower_bound": 0, "upper_bound": MAX_SEED, **bounds}
        return self.integer("seed", 0, f"Random seed of {effect}.", **bounds)

    def backend(self, backends: Sequence[str]) -> Flag:
        """Defines `--backend`, what trains; the first is the default."""
        text = "tensorflow for CPU or one GPU; jax for TPUs, several GPUs or the CPU."
        return self.choice("backend", backends[0], backends, text)

    def exclude(self, text: str) -> Flag:
        """Defines `--exclude`, predictions of images that must not be selected."""
        return self.strings("exclude", [], text)

    def num_shards(self, default: int, text: str, **bounds: int) -> Flag:
        """Defines `--num_shards`, the number of files to write."""
        bounds = {"lower_bound": 0, "upper_bound": MAX_SHARDS, **bounds}
        return self.integer("num_shards", default, text, **bounds)

    def shards(self) -> Flag:
        """Defines `--shards`, the part of the work to do, see `stage.parts`."""
        return self.string(
            "shards",
            None,
            "I/N to do only every N-th shard, from the I-th on, beside others that do "
            "the rest: I is 0 to N - 1, the same as SLURM_ARRAY_TASK_ID or "
            "JOB_COMPLETION_INDEX (docs/parts.md).",
        )

    def top_k(self, default: int, text: str) -> Flag:
        """Defines `--top_k`, the number of classes of each image."""
        return self.integer("top_k", default, text, lower_bound=1)

    # Groups of flags that several commands have.

    def source(self) -> FlagGroup:
        """Defines how labeled images are read, see `sources.open_source`."""
        return FlagGroup(
            data_dir=self.data_dir(),
            class_names_file=self.class_names(
                "needed for labels that are numbers without names, as in tfrecord: and "
                "webdataset:"
            ),
            image_feature=self.image_feature(),
            label_feature=self.label_feature(),
        )

    def image_source(self, text: str, *, required: bool = True) -> FlagGroup:
        """Defines the images that a job reads, see `sources.open_source`."""
        return FlagGroup(
            spec=self.string("images", None, text, required=required),
            image_feature=self.image_feature(),
            data_dir=self.data_dir(),
        )

    def licenses(self, **sources: Flag) -> FlagGroup:
        """Defines `--license` of what other flags name, see `licenses.parse`."""
        names = ", ".join(f"{name}=LICENSE" for name in sources)
        text = (
            f"License of images or weights, {names}, as an SPDX expression or in "
            "words, for the lists of licenses of all that is made of them."
        )
        return FlagGroup(license=self.strings("license", [], text), **sources)

    def training_data(self) -> FlagGroup:
        """Defines the images of a training run, see `trainer.open_sources`."""
        text = f"Labeled images: {SOURCES}; a folder has a sub-folder for each class."
        return FlagGroup(
            labeled=self.string("labeled", None, text, required=True),
            evaluation=self.evaluation(),
            **vars(self.source()),
        )

    def training(
        self, presets: Iterable[str], backends: Sequence[str], *, example: str
    ) -> FlagGroup:
        """Defines recipe, hardware and directory of a training run.

        The first backend is the default; `example` is an assignment for `--set`.
        """
        return FlagGroup(
            preset=self.preset("tiny", presets),
            set=self.set(example),
            seed=self.seed("weights, data order and noise"),
            workdir=self.workdir(),
            init_from=self.string(
                "init_from",
                None,
                "Initial weights: the directory of a classifier; timm's of a ResNet-RS "
                "or EfficientNet-Lite, hf:OWNER/NAME or safetensors:PATH; "
                "resnet_rs_h5:PATH; of a network of keras.applications keras:imagenet "
                "or keras_h5:PATH.",
            ),
            new_head=self.boolean(
                "new_head", False, "Initialize the last layer anew, for other classes."
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
                "profile", False, "Write a trace of a few steps for TensorBoard."
            ),
            log_to=self.log_to(),
        )


def _check_not_blank(name: str, value: Any, is_required: bool) -> None:
    """Exits if a value is blank: as a path it would mean the current directory."""
    advice = "" if is_required else "; leave the flag out for its default"
    for each in _as_list(value):
        if isinstance(each, str) and not each.strip():
            sys.exit(f"error: --{name}: expected a value, got {each!r}{advice}")


def split_source(spec: str) -> tuple[str, str]:
    """Returns the form of a source of images, "" for a plain path, and the rest."""
    form, separator, rest = spec.partition(":")
    return (form, rest) if separator and form in SOURCE_KINDS else ("", spec)


def split_dataset(text: str) -> tuple[str, str]:
    """Returns the name of a TFDS dataset, and its split with the colon before it.

    The split is "" if there is none.
    """
    found = _DATASET.match(text)
    return (found[1], found[2]) if found else (text, "")


def is_folder_source(spec: str) -> bool:
    """Whether a source of images is a folder, with or without `folder:` before it."""
    form, path = split_source(spec)
    return form in ("", "folder") and os.path.isdir(path)


def join_values(words: Iterable[str]) -> list[str]:
    """Returns words of a command line with each flag and its value in one word."""
    joined: list[str] = []
    for word in words:
        flag = joined[-1] if joined else ""
        awaits_value = flag.startswith("-") and flag.strip("-") and "=" not in flag
        if awaits_value and not word.startswith("--"):
            joined[-1] = f"{flag}={word}"
        else:
            joined.append(word)
    return joined


def lies_in_source(path: str | os.PathLike[str], spec: str) -> bool:
    """Whether a path lies in a source of images that is a folder."""
    form, folder = split_source(spec)
    return form == "folder" and is_within(path, folder)


def _define_strings(name: str, default: Any, text: str, **more: Any) -> Flag:
    # absl goes on with "; repeat this option".
    return flags.DEFINE_multi_string(name, default, text.removesuffix("."), **more)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
