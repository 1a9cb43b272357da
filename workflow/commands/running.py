"""Runs the stages of a run, and reports on it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from stage import artifact, system, typed_json
from stage.validation import check
from workflow import rounds
from workflow.chain import copying, execution, lock, receipts, reuse
from workflow.chain.errors import StageError, StaleError
from workflow.chain.execution import Request
from workflow.chain.process import shown_command
from workflow.chain.progress import Log
from workflow.chain.receipts import SourceFiles, State, Status
from workflow.chain.stage import Stage, check_words
from workflow.choice.stored import CHOICE_FILE
from workflow.commands.stage_commands import GOALS
from workflow.run_file.checks import check_files, check_run
from workflow.run_file.config import AUTO, MAX_NUMBERED, RunConfig, RunnerSection
from workflow.run_file.reading import RUN_FILE, differences, read_run, write_run
from workflow.stages import CHOICE, Chain, Chosen, choice_stages

REPORT = "report"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to run.

    Attributes:
        until: What to make, of `stage_commands.GOALS`.
        number: Round of it; by default the first.
        jobs: Number of stages that run side by side; None: as the run file says.
        remake: Whether stale stages are made anew.
        reused: Directory of a run whose equal stages are taken over; "": none.
        resume: Command that goes on after an interruption.
        has_bar: Whether a bar shows the progress on a terminal.
    """

    until: str = REPORT
    number: int = 1
    jobs: int | None = None
    remake: bool = False
    reused: str = ""
    resume: str = "the same command"
    has_bar: bool = False

    def __post_init__(self) -> None:
        check(self.until in GOALS, f"expected one of {GOALS}, got {self.until!r}")
        is_round = 1 <= self.number <= MAX_NUMBERED
        check(is_round, f"expected a round from 1 to {MAX_NUMBERED}, got {self.number}")
        check(
            self.jobs is None or self.jobs >= 0, f"expected jobs >= 0, got {self.jobs}"
        )


def run(config: RunConfig, options: Options, log: Log) -> None:
    """Makes what is asked for, and reports on a whole run.

    Raises:
        ValueError, OSError: If the settings are wrong.
        StaleError: If stages were made by other settings.
        StageError: If a stage fails.
    """
    files = source_files(config)
    _check_settings(config, options.until, options.number, files)
    num_rounds = max(config.rounds.count, options.number)
    _look_at_cloud(config, num_rounds, log)
    chosen = choose(config, options, files, log)
    chain = Chain(config, chosen, num_rounds)
    wanted = chain.goal(options.until, options.number)
    request = make_request(config, chain.stages(), wanted, options)
    _make(config, request, options, files, log)
    if options.until == REPORT:
        report(config.output, log)


def _check_settings(
    config: RunConfig, goal: str, number: int, files: SourceFiles
) -> None:
    """Raises ValueError or OSError for settings that a stage would refuse."""
    check_run(config, goal=goal, number=number, find_files=files)
    # What runs the jobs has no part in it, and need not be there.
    local = dataclasses.replace(config, runner=RunnerSection())
    for stage in Chain(local, Chosen(), 1).stages().values():
        check_words(stage)


def _make(
    config: RunConfig,
    request: Request,
    options: Options,
    files: SourceFiles,
    log: Log,
    *,
    is_choice: bool = False,
) -> None:
    """Makes the stages of a request, after all that can be wrong was looked for.

    The settings are written if they are known to fit all stages that are there.
    """
    if not options.reused:
        _check(config, request, files)
    else:
        reuse.check(request.run, options.reused)
    with lock.held(request.run, log) as descriptor:
        if options.reused:
            reuse.take_over(request, options.reused, files, log)
            _check(config, request, files)
        if not is_choice:
            write_run(config)
        execution.run(request, files, log, keep_open=[descriptor])


def _check(config: RunConfig, request: Request, files: SourceFiles) -> None:
    """Raises an error for stale stages, and for images that are not there."""
    statuses = execution.find_statuses(request, files)
    _check_images(config, request, statuses, files)
    is_stale = any(found.state is State.STALE for found in statuses.values())
    if is_stale and not request.remake:
        changes = list_changes(config)
        raise StaleError(execution.describe_stale(request.run, statuses, changes))


def _check_images(
    config: RunConfig,
    request: Request,
    statuses: Mapping[str, Status],
    files: SourceFiles,
) -> None:
    """Raises ValueError for images that are not there and are to be read."""
    to_do = [name for name, found in statuses.items() if found.state is not State.DONE]
    check_files(config, (s for n in to_do for s in request.stages[n].sources), files)


def list_changes(config: RunConfig) -> str:
    """Returns a line about the settings that a run had before; "" without any."""
    path = os.path.join(config.output, RUN_FILE)
    try:
        changed = differences(read_run(path), config)
    except (OSError, ValueError):
        return ""
    return f"{path} has other settings: {'; '.join(changed)}\n" if changed else ""


def _look_at_cloud(config: RunConfig, num_rounds: int, log: Log) -> None:
    """Looks for what jobs on Dataflow need, unless all rounds have their dataset.

    So nothing is chosen or trained for jobs that would be refused.
    """
    if config.runner.name != "dataflow":
        return
    datasets = (f"{config.output}/round-{n}/dataset" for n in range(1, num_rounds + 1))
    if all(map(artifact.is_complete, datasets)):
        return
    from workflow.dataflow import looking

    looking.check_before_training(config, log)


def find_run(path: str) -> str:
    """Returns the directory of a run by its run file, or by the directory itself.

    Runs of earlier versions have no run file.
    """
    is_earlier = os.path.isdir(path) and not os.path.exists(f"{path}/{RUN_FILE}")
    return path if is_earlier else read_run(path).output


def report_on(paths: Sequence[str], output: str | None, log: Log) -> None:
    """Reports on one run, or compares several, into a JSON file if one is named.

    Raises:
        ValueError, OSError: If there is no such run, or a file is named for one run.
    """
    if len(paths) == 1 and output:
        raise ValueError(
            f"expected --output={output} with several runs, whose figures are "
            "compared, got one, whose report is in its own directory"
        )
    runs = [find_run(path) for path in paths]
    if len(runs) == 1:
        report(runs[0], log)
    else:
        compare(runs, output, log)


def report(run: str, log: Log) -> None:
    """Writes the report of a run, and prints the verdict."""
    from workflow.report import write_report

    for line in write_report.report_on(pathlib.Path(run)):
        log(line)


def list_commands(config: RunConfig, options: Options) -> Iterator[str]:
    """Yields the command lines of the stages that are to do, and writes nothing.

    Raises:
        ValueError, OSError, StageError: As `run`.
    """
    files = source_files(config)
    _check_settings(config, options.until, options.number, files)
    chosen = _choose_aside(config, options, files)
    chain = Chain(config, chosen, max(config.rounds.count, options.number))
    wanted = chain.goal(options.until, options.number)
    stages = {**find_choice(config), **chain.stages()}
    request = make_request(config, stages, (*find_choice(config), *wanted), options)
    other = options.reused
    taken = set(reuse.find(request, other, files)) if other else set()
    statuses = execution.find_statuses(request, files)
    left = {name: found for name, found in statuses.items() if name not in taken}
    _check_images(config, request, left, files)
    for name, status in statuses.items():
        if name in taken:
            yield f"# {name} is taken from {other}"
        elif status.state is not State.DONE:
            yield from _list_stage(stages[name], request, status)


def _list_stage(stage: Stage, request: Request, status: Status) -> Iterator[str]:
    """Yields the command lines of a stage, and what is deleted before."""
    commands = copying.commands(stage, request.run, request.shared)
    if status.state is State.STALE:
        for reason in status.reasons:
            yield f"# {stage.name} is stale: {reason}"
        commands = [*copying.deletion(stage, request.shared), *commands]
        yield shlex.join(["rm", "-r", f"{request.run}/{stage.name}"])
    yield from map(shown_command, commands)


def find_choice(config: RunConfig) -> dict[str, Stage]:
    """Returns the stages that choose what the preset `auto` stands for, if they do."""
    is_auto = AUTO in (config.teacher.preset, config.student.preset)
    return choice_stages(config) if is_auto else {}


def choose(config: RunConfig, options: Options, files: SourceFiles, log: Log) -> Chosen:
    """Returns what the preset `auto` stands for; chooses if that was not done."""
    stages = find_choice(config)
    if not stages:
        return Chosen()
    request = make_request(config, stages, tuple(stages), options)
    statuses = execution.find_statuses(request, files)
    if any(found.state is not State.DONE for found in statuses.values()):
        _refuse_other_choice(config, options, files)
        _make(config, request, options, files, log, is_choice=True)
    return read_choice(config)


def _refuse_other_choice(
    config: RunConfig, options: Options, files: SourceFiles
) -> None:
    """Raises StaleError if a run without a choice has stages that it would not have.

    So nothing is made in a run before its stages are known to fit.
    """
    is_begun = os.path.exists(os.path.join(config.output, RUN_FILE))
    if not is_begun or options.remake or options.reused:
        return
    chosen = _choose_aside(config, options, files)
    stages = Chain(config, chosen, config.rounds.count).stages()
    _check(config, make_request(config, stages, tuple(stages), options), files)


def _choose_aside(config: RunConfig, options: Options, files: SourceFiles) -> Chosen:
    """Returns the choice that was made, or makes one that is not kept."""
    stages = find_choice(config)
    if not stages:
        return Chosen()
    if receipts.find_status(stages[CHOICE], config.output, files).state is State.DONE:
        return read_choice(config)
    request = make_request(config, stages, tuple(stages), options)
    if options.reused and CHOICE in reuse.find(request, options.reused, files):
        return read_choice(dataclasses.replace(config, output=options.reused))
    with tempfile.TemporaryDirectory() as directory:
        aside = dataclasses.replace(config, output=directory)
        options = dataclasses.replace(options, reused="", has_bar=False)
        try:
            return choose(aside, options, source_files(aside), lambda line: None)
        except StageError as error:
            message = str(error)
            for name in stages:  # The message has the end of the log, which is deleted.
                log = receipts.path_of(name, directory, ".log")
                message = message.replace(f", of {log}", "")
            raise StageError(message) from error


def run_rounds(config: RunConfig, options: Options, log: Log) -> None:
    """Runs rounds while each student beats all classifiers before it, and reports.

    They are compared on the images of `data.calibration`.

    Raises:
        ValueError, OSError, StaleError, StageError: As `run`.
    """
    if not config.images.calibration:
        raise ValueError("expected data.calibration, labeled images to compare by")
    files = source_files(config)
    _check_settings(config, REPORT, 1, files)
    _look_at_cloud(config, config.rounds.count, log)
    chosen = choose(config, options, files, log)
    path, patience = pathlib.Path(config.output), config.rounds.patience
    for number in range(1, config.rounds.count + 1):
        chain = Chain(config, chosen, number)
        compared = (1, number + 1)
        wanted = (
            *chain.goal("student", number),
            *(name for n in compared for name in chain.goal("calibration", n)),
        )
        request = make_request(config, chain.stages(), wanted, options)
        _make(config, request, options, files, log)
        if rounds.decide(path, patience=patience, log=log, count=number):
            break
    made = dataclasses.replace(config.rounds, count=number)
    options = dataclasses.replace(options, number=number)
    run(dataclasses.replace(config, rounds=made), options, log)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _StoredStudent:
    """What is read of the student in a choice."""

    preset: str
    flags: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _StoredChoice:
    """What is read of the choice."""

    features: str | None
    student: _StoredStudent


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ChoiceFile:
    """What is read of `choice.json`."""

    choice: _StoredChoice


def read_choice(config: RunConfig) -> Chosen:
    """Returns the choice of a run; raises OSError if none was made."""
    path = os.path.join(config.output, CHOICE, CHOICE_FILE)
    choice = typed_json.read(path, _ChoiceFile).choice
    return Chosen(
        features=choice.features or "",
        preset=choice.student.preset,
        flags=choice.student.flags,
    )


def make_request(
    config: RunConfig,
    stages: dict[str, Stage],
    wanted: tuple[str, ...],
    options: Options,
) -> Request:
    """Returns the request for some of the stages, with what they need."""
    runner = config.runner
    jobs = runner.jobs if options.jobs is None else options.jobs
    jobs = jobs or system.num_cores()
    shared = config.output
    if runner.name == "dataflow":
        shared = runner.dataflow.bucket_path + config.output
    return Request(
        run=config.output,
        shared=shared,
        stages=stages,
        wanted=wanted,
        remake=options.remake,
        jobs=jobs,
        # A small network runs fastest on one thread.
        threads=runner.threads or (1 if jobs > 1 else 0),
        resume=options.resume,
        has_bar=options.has_bar,
    )


def source_files(config: RunConfig) -> SourceFiles:
    """Returns what lists the files of the run's sources."""
    images = config.images
    columns = filter(None, (images.image_feature, images.unlabeled_image_feature))
    return SourceFiles(
        data_dir=images.data_dir, run=config.output, columns=tuple(columns)
    )


def compare(runs: Sequence[str], output: str | None, log: Log) -> None:
    """Compares runs, such as those that differ in their seed."""
    from workflow.report import write_report

    paths = [pathlib.Path(run) for run in runs]
    for line in write_report.compare(paths, pathlib.Path(output) if output else None):
        log(line)
