"""The runs of a comparison: which there are, one after the other, and their report."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Sequence

from benchmarks.methods import cost, draws, methods, plot, results, tables
from benchmarks.methods.draws import FOLDER, DataDraw
from benchmarks.methods.results import Result, RunKey
from benchmarks.methods.training import SUPERVISED, Task
from stage import cli
from stage.flags import MAX_SEED
from stage.typed_json import shorten

RESULTS = "results.jsonl"
#: Most seeds of a comparison, and the largest: a run's classifiers have the numbers
#: from ten times its seed on.
MAX_SEEDS, LAST_SEED = 1000, MAX_SEED // 10 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suite:
    """A data set and the directory of its results.

    Attributes:
        output: Directory.
        data: Name of the data set, as `draws.identify` returns it.
        labels_per_class: Number of labels of each class; 0 for a folder.
        settings: Values of `--set=` of all trainings.
        keep: Whether the files of runs are kept.
    """

    output: pathlib.Path
    data: str
    labels_per_class: int
    settings: tuple[str, ...] = ()
    keep: bool = False

    @property
    def results(self) -> pathlib.Path:
        """The file of results."""
        return self.output / RESULTS

    @property
    def name(self) -> str:
        """A name for files."""
        if self.data.startswith(FOLDER):
            return draws.folder_name(self.data)
        return f"{self.data}-{self.labels_per_class}"

    def keys(
        self, names: Iterable[str], *, seeds: Sequence[int], budgets: Sequence[float]
    ) -> Iterator[RunKey]:
        """Yields all runs, seed by seed, so that early results can be compared."""
        names = list(names)
        for seed in seeds:
            for budget in budgets:
                for name in names:
                    is_free = name in methods.FREE
                    if not is_free or budget == budgets[0]:
                        yield self._key(name, seed, 0.0 if is_free else budget)

    def _key(self, name: str, seed: int, budget: float) -> RunKey:
        settings = () if name in methods.FREE else self.settings
        return RunKey(
            data=self.data,
            labels_per_class=self.labels_per_class,
            seed=seed,
            budget=budget,
            method=name,
            recipe=methods.recipe(methods.METHODS[name], settings),
        )

    def describe(self, keys: Collection[RunKey]) -> str:
        """Returns a line with the number of runs and their seeds."""
        seeds = ", ".join(str(seed) for seed in sorted({key.seed for key in keys}))
        finished = len(results.read(self.results).keys() & set(keys))
        return f"{self.name}: {len(keys)} runs, seeds {seeds}; {finished} have results"

    def run_missing(self, keys: Iterable[RunKey]) -> None:
        """Runs what has no result and is not being run by another process."""
        for key in keys:
            with results.claimed(self.output / "locks" / key.name) as is_free:
                if is_free and key not in results.read(self.results):
                    self._run(key)

    def _run(self, key: RunKey) -> None:
        draw = self.draw(key.seed)
        if draw.truth is None and methods.needs_truth(methods.METHODS[key.method]):
            cli.log(f"{key.method}: the true labels of the images are not known")
            return
        workdir = self.output / "runs" / key.name
        shutil.rmtree(workdir, ignore_errors=True)
        task = Task(
            draw=draw,
            budget=self._budget(draw, key.budget),
            seed=key.seed,
            workdir=workdir,
            settings=self.settings,
        )
        started = time.monotonic()
        outcome = methods.METHODS[key.method].run(task)
        result = Result(
            key=key,
            accuracy=outcome.accuracy,
            multiply_adds=outcome.multiply_adds,
            target=task.budget,
            parts=outcome.parts,
            seconds=round(time.monotonic() - started, 1),
            num_classes=len(draw.class_names),
        )
        results.append(self.results, result)
        cli.log(_format(result))
        if not self.keep:
            shutil.rmtree(workdir, ignore_errors=True)

    def _budget(self, draw: DataDraw, share: float) -> int:
        task = Task(
            draw=draw, budget=0, seed=0, workdir=self.output, settings=self.settings
        )
        return cost.budget_of(share, task.network(SUPERVISED))

    def draw(self, seed: int) -> DataDraw:
        """Returns the draw of a seed, made by one process at a time."""
        return _prepare(self.output / "data", self.data, self.labels_per_class, seed)


@functools.lru_cache(maxsize=1)
def _prepare(directory: pathlib.Path, data: str, labels: int, seed: int) -> DataDraw:
    directory.mkdir(parents=True, exist_ok=True)
    with results.claimed(directory / "lock", wait=True):
        return draws.prepare(data, directory, labels_per_class=labels, seed=seed)


def _format(result: Result) -> str:
    key = result.key
    ratio = result.multiply_adds / result.target if result.target else 0.0
    parts = f"  {json.dumps(result.parts)}" if result.parts else ""
    return (
        f"{key.data} seed {key.seed} budget {key.budget:g} {key.method}: "
        f"{result.accuracy:.2%}, {ratio:.3f} of the compute, {result.seconds:.0f} s"
        f"{parts}"
    )


def report(suite: Suite, keys: Sequence[RunKey]) -> None:
    """Prints the tables and the figures of runs, and writes figures and plot."""
    every = results.read(suite.results)
    found = [every[key] for key in keys if key in every]
    if missing := {key.budget for key in keys} - {each.key.budget for each in found}:
        cli.log(_describe_missing(suite, missing, every))
    if not found:
        return
    means = tables.means(found)
    differences = tables.differences(found, methods.OURS)
    forecasts = tables.check_outlooks(
        found,
        prefix=methods.OURS,
        control=methods.CONTROL,
    )
    content = tables.to_json(
        means,
        differences,
        forecasts,
        data=suite.data,
        labels_per_class=suite.labels_per_class,
        settings=suite.settings,
        seeds=sorted({result.key.seed for result in found}),
    )
    for line in (
        *tables.format_means(means),
        "",
        *tables.format_differences(differences),
        *tables.format_forecasts(forecasts),
    ):
        cli.log(line)
    (suite.output / f"{suite.name}.json").write_text(json.dumps(content) + "\n")
    (suite.output / f"{suite.name}.svg").write_text(plot.draw(means))
    cli.log(json.dumps(content))


def _describe_missing(
    suite: Suite, budgets: Iterable[float], every: Iterable[RunKey]
) -> str:
    """Returns a line for budgets without results, with those that have some."""
    others = {
        key.budget
        for key in every
        if (key.data, key.labels_per_class) == (suite.data, suite.labels_per_class)
    }
    there = f"some with budgets {_format_budgets(others)}" if others else "none"
    return (
        f"{suite.results} has no results of {suite.name} for these seeds, methods and "
        f"settings with budgets {_format_budgets(budgets)}; of this data set, it has "
        f"{there}"
    )


def _format_budgets(budgets: Iterable[float]) -> str:
    return ", ".join(f"{b:g}" if b else "0 (no training)" for b in sorted(budgets))


def parse_seeds(text: str) -> list[int]:
    """Returns the seeds of `1-10`, of `1,4`, or of `5` for 1 to 5."""
    seeds: list[int] = []
    is_count = re.fullmatch("[1-9][0-9]*", text)
    for part in f"1-{text}".split(",") if is_count else text.split(","):
        ends = re.fullmatch("([1-9][0-9]{0,9})(?:-([0-9]{1,10}))?", part)
        found = range(int(ends[1]), int(ends[2] or ends[1]) + 1) if ends else range(0)
        if not found or found[-1] > LAST_SEED or len(seeds) + len(found) > MAX_SEEDS:
            raise ValueError(
                f"--seeds: expected 1-10, 1,4 or a count, of at most {MAX_SEEDS:,} "
                f"seeds up to {LAST_SEED:,}, got {shorten(text)!r}"
            )
        seeds += found
    return list(dict.fromkeys(seeds))


def parse_budgets(text: str) -> list[float]:
    """Returns positive budgets with commas between."""
    try:
        budgets = [float(part) for part in text.split(",")]
    except ValueError:
        budgets = []
    if not budgets or not all(0 < budget < 1e6 for budget in budgets):
        raise ValueError(f"--budgets: expected positive numbers, got {text!r}")
    return list(dict.fromkeys(budgets))


def parse_methods(text: str | None) -> list[str]:
    """Returns the names of methods with commas between; all of them for None."""
    names = text.split(",") if text is not None else list(methods.METHODS)
    for name in names:
        if name not in methods.METHODS:
            known = ", ".join(methods.METHODS)
            raise ValueError(f"--methods: expected some of {known}, got {name!r}")
    return list(dict.fromkeys(names))
