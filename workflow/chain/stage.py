"""What a stage is: a command, what it reads, and the directory that it makes."""

from __future__ import annotations

import dataclasses
import enum
import os
from collections.abc import Iterable, Iterator, Mapping

from stage import artifact
from stage.flags import join_values


class Kind(enum.Enum):
    """What the value of a flag is, which decides when two stages are the same."""

    #: Compared as it is.
    SETTING = enum.auto()
    #: A source of images, or a file; compared by names, sizes and times of the files.
    SOURCE = enum.auto()
    #: The name of a stage whose directory is read; compared by its content.
    STAGE = enum.auto()
    #: The same, read by the command itself and not by the workers of its job.
    LOCAL_STAGE = enum.auto()
    #: Decides nothing, such as where something is.
    PLACE = enum.auto()


#: Flags for which nothing is made anew: what is told of a stage, and to whom.
_UNDECIDING = ("log_to", "license", "profile", "noprofile")
#: Flags by which a command does something else, or a part, and that may be repeated.
_OF_THE_CHAIN = {"shards", "estimate"}
_REPEATED = ("set", "license", "log_to")


@dataclasses.dataclass(frozen=True)
class Argument:
    """A flag of a command with its value; without a name, a word of the user's."""

    name: str
    value: str
    kind: Kind = Kind.SETTING

    @property
    def is_stage(self) -> bool:
        """Whether the value is the name of a stage."""
        return self.kind in (Kind.STAGE, Kind.LOCAL_STAGE)

    def words(self, *, local: str, shared: str) -> str:
        """Returns the word of the command line.

        Args:
            local: Directory of the run.
            shared: The same where workers see it.
        """
        if not self.name:
            return self.value
        root = {Kind.STAGE: shared, Kind.LOCAL_STAGE: local}.get(self.kind)
        value = self.value if root is None else f"{root}/{self.value}"
        return f"--{self.name}={value}"


@dataclasses.dataclass(frozen=True)
class IfThere:
    """Arguments that depend on whether a stage before has made a directory.

    Attributes:
        directory: Path below the run's directory.
        there: Arguments if it is there, as is assumed until the stage has run.
        missing: Arguments if it is not.
    """

    directory: str
    there: tuple[Argument, ...]
    missing: tuple[Argument, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A command of a run and the directory that it makes.

    Attributes:
        name: Path of the directory below the run's, such as `round-1/selection`.
        module: Command, such as `beam_jobs.select_labels`.
        arguments: Its flags.
        beam_options: Options of Beam behind `--`; None if the command runs no job.
        is_shared: Whether the workers of its job are on other machines, so that its
            directories are copied to and from where they see them.
        output_flag: Flag for the directory that the stage makes.
        note: What the stage is for, where its command does not tell.
        after: Names of stages that make what the sources of images name.
    """

    name: str
    module: str
    arguments: tuple[Argument | IfThere, ...]
    beam_options: tuple[str, ...] | None = None
    is_shared: bool = False
    output_flag: str = "output"
    after: tuple[str, ...] = ()
    note: str = ""

    def resolve(self, run: str) -> tuple[Argument, ...]:
        """Returns the arguments, by what is in the directory of the run."""
        return tuple(_resolve(self.arguments, run))

    @property
    def parents(self) -> tuple[str, ...]:
        """Names of the stages whose directories the command reads, each once."""
        found = (a.value for a in _resolve(self.arguments, "") if a.is_stage)
        return tuple(dict.fromkeys((*self.after, *found)))

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of images that the command reads, and files."""
        arguments = _resolve(self.arguments, "")
        return tuple(a.value for a in arguments if a.kind is Kind.SOURCE)

    def command(self, run: str, shared: str) -> list[str]:
        """Returns the arguments of Python that run the stage.

        Args:
            run: Directory of the run.
            shared: The same where workers of other machines see it.
        """
        root = shared if self.is_shared else run
        words = [a.words(local=run, shared=root) for a in self.resolve(run)]
        options = [] if self.beam_options is None else ["--", *self.beam_options]
        output = f"--{self.output_flag}={root}/{self.name}"
        return ["-m", self.module, *words, output, *options]


def _resolve(arguments: Iterable[Argument | IfThere], run: str) -> Iterator[Argument]:
    for argument in arguments:
        if isinstance(argument, Argument):
            yield argument
            continue
        directory = f"{run}/{argument.directory}"
        maker = os.path.dirname(directory)
        is_made = bool(run) and artifact.is_complete(maker)
        is_there = not is_made or artifact.is_complete(directory)
        yield from argument.there if is_there else argument.missing


def settings(**values: object) -> tuple[Argument, ...]:
    """Returns flags that decide; None, "" and False leave one out."""
    return _arguments(Kind.SETTING, values)


def sources(**values: str) -> tuple[Argument, ...]:
    """Returns flags of sources; "" leaves one out."""
    return _arguments(Kind.SOURCE, values)


def places(**values: str) -> tuple[Argument, ...]:
    """Returns flags that decide nothing; "" leaves one out."""
    return _arguments(Kind.PLACE, values)


def reads(**values: str | Iterable[str]) -> tuple[Argument, ...]:
    """Returns flags for the directories of stages, several for a list of names."""
    return tuple(
        Argument(flag, name, Kind.STAGE)
        for flag, names in values.items()
        for name in ([names] if isinstance(names, str) else names)
        if name
    )


def words(texts: Iterable[str]) -> tuple[Argument, ...]:
    """Returns flags that the user has written, each with its value in one word."""
    return tuple(
        Argument("", text, Kind.PLACE if _name(text) in _UNDECIDING else Kind.SETTING)
        for text in join_values(texts)
    )


def _name(word: str) -> str:
    return word.lstrip("-").partition("=")[0]


def check_words(stage: Stage) -> None:
    """Raises ValueError for words of the user's that would change what a stage makes.

    They are words that are no flags, and flags that the chain gives.
    """
    given = {a.name for a in _resolve(stage.arguments, "")} | {stage.output_flag}
    refused = (given | _OF_THE_CHAIN) - {"", *_REPEATED}
    for argument in _resolve(stage.arguments, ""):
        word = "" if argument.name else argument.value
        name = _name(word)
        if word and (not name or not word.startswith("-")):
            raise ValueError(f"{stage.name}: expected flags, got {word!r}")
        if name in refused:
            raise ValueError(
                f"{stage.name}: expected no --{name} among the flags of the run file: "
                "the run gives it itself"
            )


def _arguments(kind: Kind, values: Mapping[str, object]) -> tuple[Argument, ...]:
    return tuple(
        Argument(name, str(value), kind)
        if value is not True
        else words([f"--{name}"])[0]
        for name, value in values.items()
        if value is not None and value != "" and value is not False
    )
