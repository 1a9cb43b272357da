"""The commands of `noisy-student`; `python -m workflow` has the same ones."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from stage import preemption  # isort: skip  # Ctrl-C during imports is one line.

import click
from click.shell_completion import CompletionItem

from stage import cli, streams
from workflow.commands import stage_commands

#: Name of the console script.
PROGRAM = "noisy-student"
#: Exit status if stages are stale.
STALE = 4
EPILOG = (
    "Exit status: 0 done; 1 a setting or a flag of a stage is wrong, or a stage has "
    "failed; 2 wrong usage of these commands; 4 stages are stale; 130 after Ctrl-C and "
    "143 after SIGTERM, from where the same command goes on."
)


class _Group(click.Group):
    """Commands in the order in which they are defined, stages last."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Returns the names of all commands."""
        return [*self.commands, *stage_commands.STAGES]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Returns a command; one of a stage passes its flags on."""
        found = super().get_command(context, name)
        return found or stage_commands.find(name)


@click.group(
    cls=_Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="noisy-student-rs")
def main() -> None:
    """Makes a better image classifier of a few labeled and many unlabeled images.

    `noisy-student init birds/` looks at a folder and writes birds/run.toml;
    `noisy-student run birds/run.toml` trains a teacher, labels all images with it,
    selects the best labels, trains a student on them, and reports on all.
    `noisy-student demo` does so with handwritten digits, in minutes.
    """


def _complete_setting(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Returns the settings of a run file that begin as what was typed."""
    from workflow.run_file.describing import sections

    names = [
        f"{section.name}.{name}=".lstrip(".")
        for section in sections()
        for name in section.settings
    ]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_SETTINGS = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="SECTION.SETTING=VALUE",
    shell_complete=_complete_setting,
    help="A setting that wins over the run file, such as teacher.preset=tiny.",
)


def _run_file(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what names a run: its file, settings that win, and the output."""
    for decorate in (
        click.option(
            "--output",
            default="",
            metavar="DIRECTORY",
            type=click.Path(),
            help="Directory of all that is made, instead of that in the run file.",
        ),
        _SETTINGS,
        click.argument("run_file", required=False, type=click.Path()),
    ):
        command = decorate(command)
    return command


_JOBS = click.option(
    "--jobs",
    type=click.IntRange(0),
    help="Number of stages that run side by side; 0: one for each core.",
)
_REMAKE = click.option(
    "--remake", is_flag=True, help="Delete stale stages, and make them anew."
)
_ROUND = click.option(
    "--round",
    "number",
    type=click.IntRange(1, 20),
    help="Round of --until; the first if not given.",
)


def _check_given(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str:
    """Returns a value; raises an error for an empty one, such as `--from=$UNSET`."""
    if value == "":
        raise click.BadParameter("expected a directory, got none")
    return value or ""


_FROM = click.option(
    "--from",
    "reused",
    metavar="RUN",
    type=click.Path(),
    callback=_check_given,
    help="Directory of another run, whose stages with equal inputs are taken over.",
)


@main.command()
@_run_file
@click.option(
    "--until",
    type=click.Choice(stage_commands.GOALS),
    default="report",
    show_default=True,
    help="What to make, with all that it needs.",
)
@_ROUND
@_JOBS
@_REMAKE
@click.option("--dry_run", is_flag=True, help="Print the commands of what is to do.")
@_FROM
def run(
    run_file: str | None, assignments: Sequence[str], output: str, **more: Any
) -> None:
    """Run the stages of RUN_FILE that are to do, and report.

    RUN_FILE is a file that `init` has written, or the directory of a run; with --from,
    its settings are those of the other run unless a file is given.
    """
    from workflow.commands import running
    from workflow.run_file.reading import read_run

    if more["number"] is not None and more["until"] == running.REPORT:
        raise click.UsageError(
            "--round is that of --until; a report has as many as rounds.count says"
        )
    config = read_run(run_file or more["reused"] or None, assignments, output=output)
    dry_run = more.pop("dry_run")
    number = more.pop("number") or 1
    options = running.Options(number=number, **_shown(), **more)
    if dry_run:
        for line in running.list_commands(config, options):
            cli.log(line)
    else:
        running.run(config, options, cli.log)


@main.command()
@_run_file
def status(run_file: str | None, assignments: Sequence[str], output: str) -> None:
    """Show which stages are done, stale or to do."""
    from workflow.commands import showing
    from workflow.run_file.reading import read_run

    config = read_run(run_file, assignments, output=output)
    for line in showing.format_status(config, color=showing.can_color()):
        streams.show(line, is_styled=True)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option(
    "--output", metavar="FILE.json", help="File for the figures of several runs."
)
def report(runs: Sequence[str], output: str | None) -> None:
    """Report on a run that is done, or compare several.

    RUNS are run files or directories of runs. Of one, it prints the verdict and writes
    a page. Several that differ in their seed alone get a mean; of others, it prints the
    settings that differ.
    """
    from workflow.commands import running, showing

    running.report_on(runs, output, cli.log)
    for run in map(running.find_run, runs):
        if line := showing.warn_of_stale(run):
            cli.log(line)


@main.command()
@_run_file
@_JOBS
@_REMAKE
@_FROM
def rounds(
    run_file: str | None, assignments: Sequence[str], output: str, **more: Any
) -> None:
    """Run rounds as long as each student beats all classifiers before it.

    They are compared on the images of data.calibration; there are at most rounds.count.
    """
    from workflow.commands import running
    from workflow.run_file.reading import read_run

    config = read_run(run_file or more["reused"] or None, assignments, output=output)
    options = running.Options(**_shown(), **more)
    running.run_rounds(config, options, cli.log)


@main.command()
@click.option(
    "--output", default="runs/demo", show_default=True, help="Directory to make."
)
@_SETTINGS
@click.option(
    "--seeds",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    help="Number of draws to run and compare.",
)
@_JOBS
@_REMAKE
@_FROM
def demo(output: str, assignments: Sequence[str], seeds: int, **more: Any) -> None:
    """Run the chain on handwritten digits, 50 of them labeled, in minutes."""
    from workflow.commands import demonstration, running

    options = running.Options(**_shown(), **more)
    demonstration.run(output, assignments, options, num_seeds=seeds, log=cli.log)


@main.command()
@click.argument("folder", type=click.Path())
@click.option("--force", is_flag=True, help="Replace a run file that is there.")
def init(folder: str, force: bool) -> None:
    """Look at FOLDER, and write a run file with comments into it."""
    from workflow.commands import beginning

    for line in beginning.write(folder, force=force):
        cli.log(line)


@main.command("settings")
def list_settings() -> None:
    """Print all settings of a run file with their defaults."""
    from workflow.run_file.describing import write_template

    cli.log(write_template({}, "All settings of a run file.").rstrip())


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what lets a shell complete these commands.

    For bash, add to ~/.bashrc: eval "$(noisy-student completion bash)"
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is not None:
        variable = f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE"
        cli.log(found(main, {}, PROGRAM, variable).source())


def _shown() -> dict[str, Any]:
    """Returns the options about what is shown of a run."""
    return {
        "resume": shlex.join([PROGRAM, *sys.argv[1:]]),
        "has_bar": streams.is_terminal(),
    }


def program() -> None:
    """Runs the command line of this process."""
    cli.run_program(_run)


def _run(argv: Sequence[str]) -> None:
    from workflow.chain.errors import StageError, StaleError

    try:
        status = main.main(
            args=list(argv[1:]), prog_name=PROGRAM, standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        os._exit(preemption.INTERRUPTED)
    except StaleError as error:
        streams.warn(f"error: {error}")
        sys.exit(STALE)
    except StageError as error:
        cli.wait_if_interrupted()  # Then it has failed for this reason.
        sys.exit(f"error: {error}")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    sys.exit(status or 0)


if __name__ == "__main__":
    program()
