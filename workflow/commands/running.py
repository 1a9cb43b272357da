"""Runs the stages of a run, and reports on it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from stage import artifact, system, typed_json
from workflow import rounds
from workflow.chain import copying, execution, receipts, reuse
from workflow.chain.execution import Log, Request
from workflow.chain.process import shown_command
from workflow.chain.receipts import SourceFiles
from workflow.chain.stage import Stage
from workflow.choice.stored import CHOICE_FILE
from workflow.run_file.checks import check_run
from workflow.run_file.config import AUTO, RunConfig
from workflow.run_file.reading import write_run
from workflow.stages import Chain, Chosen, choice_stage

REPORT = "report"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to run.

    Attributes:
        until: What to make, of `stages.GOALS`.
        number: Round of it.
        jobs: Number of stages that run side by side; None: as the run file says.
        remake: Whether stale stages are made anew.
        reused: Directory of a run whose equal stages are taken over; "": none.
        resume: Command that goes on after an interruption.
    """

    until: str = REPORT
    number: int = 1
    jobs: int | None = None
    remake: bool = False
    reused: str = ""
    resume: str = "the same command"


def run(config: RunConfig, options: Options, log: Log) -> None:
    """Makes what is asked for, and reports on a whole run.

    Raises:
        ValueError, OSError: If the settings are wrong.
        StaleError: If stages were made by other settings.
        StageError: If a stage fails.
    """
    files = source_files(config)
    check_run(config, goal=options.until, number=options.number, find_files=files)
    num_rounds = max(config.rounds.count, options.number)
    _look_at_cloud(config, num_rounds, log)
    chosen = choose(config, options, files, log)
    chain = Chain(config, chosen, num_rounds)
    request = make_request(config, chain.stages(), options)
    wanted = chain.goal(options.until, options.number)
    request = dataclasses.replace(request, wanted=wanted)
    if options.reused:
        reuse.take_over(request, options.reused, files, log)
    execution.check_stale(request, files)
    write_run(config)
    execution.run(request, files, log)
    if options.until == REPORT:
        report(config, log)


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


def report(config: RunConfig, log: Log) -> None:
    """Writes the report of a run, and prints the verdict."""
    from workflow.report import write_report

    for line in write_report.report_on(pathlib.Path(config.output)):
        log(line)


def list_commands(config: RunConfig, options: Options, log: Log) -> Iterator[str]:
    """Yields the command lines of the stages that are to do, and writes nothing."""
    files = source_files(config)
    check_run(config, goal=options.until, number=options.number, find_files=files)
    chosen = _choose_aside(config, options, files, log)
    chain = Chain(config, chosen, max(config.rounds.count, options.number))
    request = make_request(config, chain.stages(), options)
    for name in execution.needed(
        request.stages, chain.goal(options.until, options.number)
    ):
        stage = request.stages[name]
        status = receipts.find_status(stage, request.run, files)
        if status.state is not receipts.State.DONE:
            for reason in status.reasons:
                yield f"# {name} is stale: {reason}"
            commands = copying.commands(stage, request.run, request.shared)
            if status.state is receipts.State.STALE:
                commands = [*copying.deletion(stage, request.shared), *commands]
            yield from map(shown_command, commands)


def choose(config: RunConfig, options: Options, files: SourceFiles, log: Log) -> Chosen:
    """Returns what the preset `auto` stands for; chooses if that was not done."""
    if AUTO not in (config.teacher.preset, config.student.preset):
        return Chosen()
    stage = choice_stage(config)
    request = make_request(config, {stage.name: stage}, options)
    if options.reused:
        reuse.take_over(request, options.reused, files, log)
    execution.run(request, files, log)
    return read_choice(config)


def _choose_aside(
    config: RunConfig, options: Options, files: SourceFiles, log: Log
) -> Chosen:
    """Returns the choice that was made, or makes one that is not kept."""
    if AUTO not in (config.teacher.preset, config.student.preset):
        return Chosen()
    if artifact.is_complete(os.path.join(config.output, choice_stage(config).name)):
        return read_choice(config)
    with tempfile.TemporaryDirectory() as directory:
        aside = dataclasses.replace(config, output=directory)
        return choose(aside, options, files, log)


def run_rounds(config: RunConfig, options: Options, log: Log) -> None:
    """Runs rounds while each student beats all classifiers before it, and reports.

    They are compared on the images of `data.calibration`.

    Raises:
        ValueError, OSError, StaleError, StageError: As `run`.
    """
    if not config.images.calibration:
        raise ValueError("expected data.calibration, labeled images to compare by")
    files = source_files(config)
    check_run(config, goal=REPORT, number=1, find_files=files)
    _look_at_cloud(config, config.rounds.count, log)
    chosen = choose(config, options, files, log)
    for number in range(1, config.rounds.count + 1):
        chain = Chain(config, chosen, number)
        request = make_request(config, chain.stages(), options)
        names = ("round-1", f"round-{number + 1}")
        wanted = tuple(f"{name}/calibration" for name in names)
        request = dataclasses.replace(
            request, wanted=(*chain.goal("student", number), *wanted)
        )
        execution.check_stale(request, files)
        write_run(config)
        execution.run(request, files, log)
        stops = rounds.decide(
            pathlib.Path(config.output), patience=config.rounds.patience, log=log
        )
        if stops:
            break
    done = dataclasses.replace(
        config, rounds=dataclasses.replace(config.rounds, count=number)
    )
    run(done, dataclasses.replace(options, number=number), log)


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
    path = os.path.join(config.output, choice_stage(config).name, CHOICE_FILE)
    choice = typed_json.read(path, _ChoiceFile).choice
    return Chosen(
        features=choice.features or "",
        preset=choice.student.preset,
        flags=choice.student.flags,
    )


def make_request(
    config: RunConfig, stages: dict[str, Stage], options: Options
) -> Request:
    """Returns the request for all stages."""
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
        wanted=tuple(stages),
        remake=options.remake,
        jobs=jobs,
        # A small network runs fastest on one thread.
        threads=runner.threads or (1 if jobs > 1 else 0),
        resume=options.resume,
    )


def source_files(config: RunConfig) -> SourceFiles:
    """Returns what lists the files of the run's sources."""
    return SourceFiles(data_dir=config.images.data_dir, run=config.output)


def summarize_seeds(runs: Sequence[str], output: str, log: Log) -> None:
    """Compares runs that differ in their seed."""
    from workflow.report import write_report

    paths = [pathlib.Path(run) for run in runs]
    for line in write_report.compare(paths, pathlib.Path(output)):
        log(line)
