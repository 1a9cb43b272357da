"""The settings of a run on Dataflow, from a command line."""

from __future__ import annotations

from collections.abc import Sequence

from stage.flags import CommandFlags, Flag
from workflow.run_file.config import RunConfig
from workflow.run_file.reading import read_run

#: Builder of the container that is no docker here.
CLOUD = "cloud"
#: Where a run would be that has no run file.
_OUTPUT = "runs/dataflow"


def define(flags: CommandFlags) -> Flag:
    """Defines `--set`, which changes one setting of the run file."""
    return flags.strings(
        "set", [], "A setting, such as runner.dataflow.project=my-project"
    )


def define_builder(flags: CommandFlags) -> Flag:
    """Defines `--builder`, what builds the container of the workers."""
    return flags.choice(
        "builder",
        CLOUD,
        [CLOUD, "docker"],
        "What builds the container: Cloud Build, or docker on this machine.",
    )


def read(argv: Sequence[str], assignments: Sequence[str]) -> RunConfig:
    """Returns the settings of a run file, if one is given, with Dataflow as its runner.

    Args:
        argv: Name of the program, and perhaps the run file or the directory of a run.
        assignments: Settings that win.

    Raises:
        ValueError: If there is more than one file, or a setting is missing or wrong.
        OSError: If the file cannot be read.
    """
    _, *files = argv
    if len(files) > 1:
        raise ValueError(f"expected one run file, got {' '.join(files)}")
    file = files[0] if files else None
    usual = () if files else (f"output={_OUTPUT}",)
    return read_run(file, [*usual, *assignments, "runner.name=dataflow"])
