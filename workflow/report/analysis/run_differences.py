"""The settings in which runs differ, by the commands of their stages.

Seeds and directories of a run are left out, also in the names of images, such as
`digits/labels5_seed1`. Runs without differences repeat one experiment, so that their
mean and spread mean something.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence

from stage.typed_json import Count

#: Flags for what a command makes, and for its seed.
_OUTPUTS, _SEED = ("--workdir", "--output"), "--seed"
#: Flags that name images, and what `config.json` calls these.
_IMAGES = {f"--{name}": name for name in ("labeled", "evaluation", "images")}
#: Stand-ins for the directory of a run, and for its seed in a name.
_RUN, _ANY_SEED = "RUN", "seedN"
_ABSENT = "not given"
#: What the name of a command is called among the flags of a stage.
_COMMAND = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageFacts:
    """What is read of a stage in a `report.json`.

    Attributes:
        name: Path of its directory below the run's.
        command: Arguments of Python.
        fingerprints: SHA-256 of its inputs, by name.
    """

    name: str
    command: tuple[str, ...] = ()
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The seed and the stages of a run."""

    seed: Count
    stages: tuple[StageFacts, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunDifference:
    """A setting that not all runs share.

    Attributes:
        setting: Command and flag.
        values: Value of each run.
        is_of_images: Whether the runs have other images.
    """

    setting: str
    values: tuple[str, ...]
    is_of_images: bool


def find_differences(runs: Sequence[RunFacts]) -> tuple[RunDifference, ...]:
    """Returns the settings in which runs differ, those of images first.

    Stages that only some of the runs have are left out: a run of more rounds is not
    another experiment. A flag of several commands is listed with the first.
    """
    found = [dict(_settings(run)) for run in runs]
    common = [key for key in found[0] if all(key in other for other in found[1:])]
    differences: dict[tuple[str, tuple[str, ...]], RunDifference] = {}
    for stage in common:
        for flag in dict.fromkeys(flag for of_run in found for flag in of_run[stage]):
            values = tuple(of_run[stage].get(flag, _ABSENT) for of_run in found)
            if len(set(values)) > 1:
                named = flag and f"{found[0][stage][_COMMAND]} {flag}"
                difference = RunDifference(
                    setting=named or f"command of {stage}",
                    values=values,
                    is_of_images=flag in _IMAGES,
                )
                differences.setdefault((flag, values), difference)
    return tuple(sorted(differences.values(), key=lambda d: not d.is_of_images))


def _settings(run: RunFacts) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the name and the settings of each stage, its command among them."""
    seed = re.compile(rf"seed{run.seed}(?![0-9])")
    for stage in run.stages:
        # A stage that was taken over names the run that has made it.
        directory = _find_directory(stage)
        inside = re.compile(rf"(?<![^:=, ]){re.escape(directory)}(?=/|$)")
        settings: dict[str, list[str]] = {}
        for flag, value in _flags(stage.command):
            if directory:
                value = inside.sub(_RUN, value)
            settings.setdefault(flag, []).append(seed.sub(_ANY_SEED, value))
        values = {flag: " ".join(given) for flag, given in settings.items()}
        values[_COMMAND] = " ".join(stage.command[1:2])
        for flag, name in _IMAGES.items():
            # Images of a name without seed and run should be the same ones.
            value = values.get(flag, _RUN)
            if not any(mark in value for mark in (_RUN, _ANY_SEED)):
                files = stage.fingerprints.get(f"{name}.fingerprint", "")
                content = stage.fingerprints.get(f"{name}.content", files)
                values[flag] = f"{value} ({content[:8]})" if content else value
        yield stage.name, values


def _flags(command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields the flags that may change a result; each of --set is one of its own."""
    for word in command:
        if word == "--":  # Options of Beam follow.
            return
        flag, _, value = word.partition("=")
        if not word.startswith("--") or flag in (*_OUTPUTS, _SEED):
            continue
        if flag == "--set":
            setting, _, value = value.partition("=")
            flag = f"--set={setting}"
        yield flag, value


def _find_directory(stage: StageFacts) -> str:
    """Returns the directory of the run that a stage was made in; "" if unknown."""
    for word in stage.command:
        flag, _, value = word.partition("=")
        if flag in _OUTPUTS and value.endswith(f"/{stage.name}"):
            return value.removesuffix(f"/{stage.name}")
    return ""
