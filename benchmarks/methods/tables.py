"""Means, paired differences and their intervals, as tables and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.methods.results import Result
from pseudo_label.selection import outlook
from workflow.report.analysis.seeds import interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mean:
    """The accuracies of a method at one budget.

    Attributes:
        method: Name of the method.
        budget: Share of the demo's multiply-adds.
        mean: Mean accuracy over the seeds.
        sd: Standard deviation; None for one seed.
        low: Lower end of the mean's 95 % interval, at least 0; None for one seed.
        high: Upper end, at most 1.
        seeds: Number of seeds.
        compute: Mean ratio of multiply-adds to those allowed.
        multiply_adds: Mean number of multiply-adds.
    """

    method: str
    budget: float
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    seeds: int
    compute: float
    multiply_adds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Paired differences of two methods over the seeds that both have.

    Attributes:
        method: Name of the first.
        over: Name of the second.
        budget: Share of the demo's multiply-adds; of the second too, unless it has
            only one.
        mean: Mean of the differences of accuracy.
        low: Lower end of its 95 % interval by Student's t; None for one seed.
        high: Upper end.
        wins: Number of seeds at which the first is better.
        seeds: Number of seeds.
    """

    method: str
    over: str
    budget: float
    mean: float
    low: float | None
    high: float | None
    wins: int
    seeds: int


def means(results: Iterable[Result]) -> list[Mean]:
    """Returns the mean of each method and budget, in their order."""
    groups: dict[tuple[str, float], list[Result]] = {}
    for result in results:
        groups.setdefault((result.key.method, result.key.budget), []).append(result)
    return [_mean(*key, group) for key, group in groups.items()]


def _mean(method: str, budget: float, group: Sequence[Result]) -> Mean:
    accuracies = [result.accuracy for result in group]
    ends = interval(accuracies)
    low, high = (max(0.0, ends[0]), min(1.0, ends[1])) if ends else (None, None)
    ratios = [result.multiply_adds / result.target for result in group if result.target]
    return Mean(
        method=method,
        budget=budget,
        mean=statistics.fmean(accuracies),
        sd=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        low=low,
        high=high,
        seeds=len(accuracies),
        compute=statistics.fmean(ratios) if ratios else 0.0,
        multiply_adds=statistics.fmean(result.multiply_adds for result in group),
    )


def differences(results: Sequence[Result], prefix: str) -> list[Difference]:
    """Returns how methods whose names begin with `prefix` compare with all others.

    The one result for a seed of a method that trains nothing counts for all budgets.
    """
    by_method: dict[str, dict[float, dict[int, float]]] = {}
    for result in results:
        of_method = by_method.setdefault(result.key.method, {})
        seeds = of_method.setdefault(result.key.budget, {})
        seeds[result.key.seed] = result.accuracy
    found = []
    for method in filter(lambda name: name.startswith(prefix), by_method):
        for budget, ours in by_method[method].items():
            for other, budgets in by_method.items():
                theirs = budgets.get(budget, budgets.get(0.0, {}))
                common = sorted(ours.keys() & theirs.keys())
                if other != method and common:
                    paired = [ours[seed] - theirs[seed] for seed in common]
                    found.append(_difference(method, other, budget, paired))
    return found


def _difference(
    method: str, over: str, budget: float, paired: Sequence[float]
) -> Difference:
    low, high = interval(paired) or (None, None)
    return Difference(
        method=method,
        over=over,
        budget=budget,
        mean=statistics.fmean(paired),
        low=low,
        high=high,
        wins=sum(bool(value > 0) for value in paired),
        seeds=len(paired),
    )


def format_means(found: Sequence[Mean]) -> Iterator[str]:
    """Yields the lines of a table: methods by budgets, after what the cells have."""
    yield (
        "mean accuracy and standard deviation in %, number of draws; in brackets, "
        "multiply-adds relative to the budget"
    )
    budgets = sorted({mean.budget for mean in found})
    heads = [f"budget {budget:g}" if budget else "no training" for budget in budgets]
    yield f"{'':20}" + "".join(f"{head:>27}" for head in heads)
    cells = {(mean.method, mean.budget): mean for mean in found}
    for method in dict.fromkeys(mean.method for mean in found):
        line = f"{method:20}"
        for budget in budgets:
            mean = cells.get((method, budget))
            text = ""
            if mean is not None:
                sd = "-" if mean.sd is None else f"{100 * mean.sd:.2f}"
                text = f"{100 * mean.mean:.2f} sd {sd} n {mean.seeds}"
                text += f" ({mean.compute:.2f})" if budget else ""
            line += f"{text:>27}"
        yield line


def format_differences(found: Iterable[Difference]) -> Iterator[str]:
    """Yields a line for each difference, in points."""
    for difference in found:
        line = f"{difference.method} over {difference.over}"
        yield (
            f"{line:38} budget {difference.budget:<5g} {100 * difference.mean:+6.2f}"
            + (
                f"  ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
                if difference.low is not None and difference.high is not None
                else ""
            )
            + f"  better in {difference.wins} of {difference.seeds}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecasts:
    """How often the agreement of neighbors told whether a student ends above another.

    It is one of the figures of a selection's outlook, and the one that every run has.

    Attributes:
        over: Name of what students are compared with.
        likely: Number of students that were likely to end above it.
        likely_better: Number of these that did.
        unlikely: Number of the others.
        unlikely_better: Number of these that ended above it.
    """

    over: str
    likely: int
    likely_better: int
    unlikely: int
    unlikely_better: int


def check_outlooks(
    results: Sequence[Result], *, prefix: str, control: str
) -> list[Forecasts]:
    """Returns how often the outlook was right about the student of our method.

    Of one round only: students of several rounds have a part of the budget. A student
    is compared with the control of the same seed and budget, and with its teacher.
    """
    controls = {
        (result.key.seed, result.key.budget): result.accuracy
        for result in results
        if result.key.method == control
    }
    pairs: dict[str, list[tuple[bool, bool]]] = {"control": [], "teacher": []}
    for result in results:
        parts, key = result.parts, result.key
        has_student = {"agreement 1", "student 1"} <= parts.keys()
        is_of_one_round = "kept 2" not in parts
        if not (key.method.startswith(prefix) and has_student and is_of_one_round):
            continue
        agreement = outlook.beyond_chance(parts["agreement 1"], result.num_classes)
        is_likely = agreement >= outlook.MIN_AGREEMENT
        others = {
            "control": controls.get((key.seed, key.budget)),
            "teacher": parts["teacher"],
        }
        for name, other in others.items():
            if other is not None:
                pairs[name].append((is_likely, parts["student 1"] > other))
    return [_count(name, found) for name, found in pairs.items() if found]


def _count(over: str, pairs: Sequence[tuple[bool, bool]]) -> Forecasts:
    likely = [is_better for is_likely, is_better in pairs if is_likely]
    unlikely = [is_better for is_likely, is_better in pairs if not is_likely]
    return Forecasts(
        over=over,
        likely=len(likely),
        likely_better=sum(likely),
        unlikely=len(unlikely),
        unlikely_better=sum(unlikely),
    )


def format_forecasts(found: Iterable[Forecasts]) -> Iterator[str]:
    """Yields a sentence for each of what students are compared with."""
    for forecast in found:
        yield (
            f"outlook against {forecast.over}: {forecast.likely} of "
            f"{forecast.likely + forecast.unlikely} students were likely to end above "
            f"it, and {forecast.likely_better} did; {forecast.unlikely} were unlikely, "
            f"and {forecast.unlikely_better} did"
        )


def to_json(
    found: Sequence[Mean],
    compared: Sequence[Difference],
    forecasts: Sequence[Forecasts],
    **more: Any,
) -> dict[str, Any]:
    """Returns all figures."""
    return {
        **more,
        "means": [dataclasses.asdict(mean) for mean in found],
        "differences": [dataclasses.asdict(difference) for difference in compared],
        "outlooks": [dataclasses.asdict(forecast) for forecast in forecasts],
    }
