"""All figures of a report, computed from the files of a run."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pseudo_label.selection.outlook import Outlook
from stage import artifact, licenses, typed_json
from stage.licenses import Ledger
from stage.typed_json import Count, NonNegative, Share
from workflow.report.analysis import diagnosis, metrics, verdict
from workflow.report.analysis.diagnosis import Cause, Evidence
from workflow.report.analysis.learning_curves import (
    Series,
    agreement_under_noise,
    read_learning,
)
from workflow.report.analysis.metrics import Confusion, Interval
from workflow.report.analysis.missing import Missing, attempt, known
from workflow.report.analysis.round_figures import RoundFigures, read_round
from workflow.report.analysis.run_files import (
    EvaluatedImages,
    FinishedStage,
    Run,
    read_stages,
)
from workflow.samples import tiles
from workflow.samples.tiles import Sample

#: Largest number of confusions shown.
_MAX_CONFUSIONS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy of `control`, `teacher` or `student N` on a number of test images."""

    name: str
    share: Interval
    images: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain:
    """Difference between the accuracies of two classifiers, in [-1, 1].

    `paired` is whether the two were compared image by image.
    """

    name: str
    over: str
    share: Interval
    paired: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Possible causes of a student's low accuracy.

    Attributes:
        round: Round of the student.
        below: Names of the classifiers it is less accurate than, among its teacher and,
            for the last student, the control.
        differences: Difference from the accuracy of each of them.
        may_be_chance: Whether the intervals of all differences include 0.
        causes: Causes, the likeliest first.
    """

    round: int
    below: tuple[str, ...]
    differences: tuple[Interval, ...]
    may_be_chance: bool
    causes: tuple[Cause, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stopping:
    """Why no further round was started, and the best round; None if unknown."""

    reason: str
    best_round: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a report besides those of `verdict.make_report`.

    Attributes:
        run: Name of the run's directory.
        headline: Result of the last student.
        class_names: K names by label; empty without predictions.
        accuracies: Accuracies of control, first teacher and students.
        compute: Multiply-adds of `control` and `chain`; None if unknown.
        gains: Gains of the last student over first teacher and control, then of each
            student over its teacher.
        outlooks: Outlook of each round's student, by the selection for it.
        confusions: Confusions of the first teacher and the last student.
        stopping: Decision to stop; None if the number of rounds was given.
        stages: All complete artifacts.
        licenses: Weights and images that the last student was made of.
    """

    run: str
    headline: str
    class_names: tuple[str, ...]
    accuracies: tuple[Accuracy, ...]
    compute: dict[str, float] | None
    gains: tuple[Gain, ...]
    outlooks: tuple[Outlook, ...]
    diagnoses: tuple[Diagnosis, ...]
    rounds: tuple[RoundFigures, ...]
    learning: tuple[Series, ...]
    confusions: tuple[Confusion, ...] | Missing
    stopping: Stopping | None
    stages: tuple[FinishedStage, ...]
    licenses: Ledger


# What figures need of JSON files, which may be of earlier versions.


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Decision:
    reason: str | None = None
    best_round: Count | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fit:
    agreement: Share | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _StudentEvaluation:
    fit: _Fit | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Model:
    name: str = ""
    width_multiplier: NonNegative | None = None
    dropout_rate: NonNegative | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Augment:
    magnitude: NonNegative | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Recipe:
    num_steps: Count | None = None
    model: _Model = _Model()
    augment: _Augment = _Augment()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sizes:
    labeled: Count = 0
    pseudo_labeled: Count = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _StudentConfig:
    config: _Recipe
    sizes: _Sizes | None = None


def read_figures(path: pathlib.Path, report: dict[str, Any]) -> Figures:
    """Returns the figures of a run, given the result of `verdict.make_report`."""
    run = Run(path)
    rounds = tuple(
        read_round(run, facts["round"], facts["funnel"]) for facts in report["rounds"]
    )
    accuracies = tuple(_accuracies(report))
    gains = tuple(_gains(run, accuracies))
    series = tuple(read_learning(run, len(rounds)))
    first = known(attempt(lambda: run.labeled_round(1)))
    return Figures(
        run=path.resolve().name,
        headline=verdict.headline(report),
        class_names=tuple(first.selection.class_names) if first else (),
        accuracies=accuracies,
        compute=report["compute"],
        gains=gains,
        outlooks=tuple(Outlook(**facts["outlook"]) for facts in report["rounds"]),
        diagnoses=tuple(
            _diagnose(
                found, gains, _evidence(run, found, accuracies[found.round], series)
            )
            for found in rounds
        ),
        rounds=rounds,
        learning=series,
        confusions=attempt(lambda: _confusions(run, len(rounds))),
        stopping=_stopping(path / "rounds.json"),
        stages=tuple(read_stages(run)),
        licenses=licenses.read(run.round(len(rounds)) / "student"),
    )


def read_samples(path: pathlib.Path, figures: Figures) -> list[Sample] | Missing:
    """Returns the tiles of the last round's contact sheets."""
    directory = Run(path).round(len(figures.rounds)) / "samples"
    if not (directory / tiles.FILE).exists():
        return Missing(
            reason=f"There is no {directory.relative_to(path).as_posix()}.",
            command="noisy-student run RUN --until=samples "
            f"--round={len(figures.rounds)}",
        )
    return attempt(lambda: tiles.read_samples(directory))


def to_json(figures: Figures, report: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of `report.json`: `report` and all figures."""
    content = dataclasses.asdict(figures)
    # There may be many classes, and each figure has the names it needs.
    del content["class_names"]
    rounds = [
        {**facts, **found}
        for facts, found in zip(report["rounds"], content.pop("rounds"), strict=True)
    ]
    return {**report, **content, "rounds": rounds}


def _accuracies(report: dict[str, Any]) -> Iterator[Accuracy]:
    images = report["num_test_images"]
    shares = {name: report[f"{name}_accuracy"] for name in ("control", "teacher")}
    for facts in report["rounds"]:
        shares[f"student {facts['round']}"] = facts["student_accuracy"]
    for name, accuracy in shares.items():
        interval = metrics.share(round(accuracy * images), images)
        yield Accuracy(name=name, share=interval, images=images)


def _gains(run: Run, accuracies: Sequence[Accuracy]) -> Iterator[Gain]:
    """Yields the gains in the order of `Figures.gains`."""
    control, *line = accuracies
    images = {
        accuracy.name: _evaluated(run, run.teacher_evaluation(number))
        for number, accuracy in enumerate(line, start=1)
    }
    images[control.name] = _evaluated(run, run.path / "control" / "evaluation")
    pairs = [
        (line[-1], line[0]),
        (line[-1], control),
        *((after, before) for before, after in itertools.pairwise(line)),
    ]
    for first, second in dict.fromkeys(pairs):
        yield _gain(first, second, images)


def _evaluated(run: Run, directory: pathlib.Path) -> EvaluatedImages | None:
    return known(attempt(lambda: run.evaluated(directory)))


def _gain(
    first: Accuracy, second: Accuracy, images: Mapping[str, EvaluatedImages | None]
) -> Gain:
    """Returns the gain, paired if the images of both are known and the same."""
    share, is_paired = metrics.difference(first.share, second.share), False
    a, b = images[first.name], images[second.name]
    if a and b and np.array_equal(a.key, b.key):
        paired = metrics.paired_difference(a.is_right, b.is_right)
        # The evaluation may predict one or two images differently than training did.
        is_paired = abs(paired.estimate - share.estimate) * first.images <= 2.0
        if is_paired:
            share = dataclasses.replace(paired, estimate=share.estimate)
    return Gain(name=first.name, over=second.name, share=share, paired=is_paired)


def _diagnose(
    found: RoundFigures, gains: Sequence[Gain], evidence: Evidence
) -> Diagnosis:
    teacher = f"student {found.round - 1}" if found.round > 1 else "teacher"
    # The teacher comes first; only the last student is compared with the control.
    losses = [
        gain
        for over in (teacher, "control")
        for gain in gains
        if (gain.name, gain.over) == (f"student {found.round}", over)
        and gain.share.estimate < 0
    ]
    return Diagnosis(
        round=found.round,
        below=tuple(loss.over for loss in losses),
        differences=tuple(loss.share for loss in losses),
        may_be_chance=all(loss.share.high >= 0 for loss in losses),
        causes=diagnosis.diagnose(evidence),
    )


def _evidence(
    run: Run, found: RoundFigures, teacher: Accuracy, series: Sequence[Series]
) -> Evidence:
    directory = run.round(found.round)
    config = typed_json.read(directory / "student" / artifact.CONFIG, _StudentConfig)
    path = directory / "evaluation" / "evaluation.json"
    fit = typed_json.read(path, _StudentEvaluation).fit if path.exists() else None
    return Evidence(
        teacher_accuracy=teacher.share.estimate,
        kept=known(found.kept),
        judges=known(found.judges),
        curve=known(found.coverage) or (),
        agreement=fit.agreement if fit else None,
        under_noise=agreement_under_noise(series, f"student {found.round}"),
        config=dataclasses.asdict(config.config),
        labeled=config.sizes.labeled if config.sizes else 0,
        records=config.sizes.pseudo_labeled if config.sizes else 0,
    )


def _confusions(run: Run, rounds: int) -> tuple[Confusion, ...]:
    teacher = run.evaluated(run.teacher_evaluation(1))
    student = _evaluated(run, run.teacher_evaluation(rounds + 1))
    return metrics.confusions(
        teacher.decoded(),
        run.labeled_round(1).selection.class_names,
        student.decoded() if student else None,
        count=_MAX_CONFUSIONS,
    )


def _stopping(path: pathlib.Path) -> Stopping | None:
    if not path.exists():
        return None
    found = typed_json.read(path, _Decision)
    return Stopping(reason=found.reason or "", best_round=found.best_round)
