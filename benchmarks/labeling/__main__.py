"""Measures the labeling job beside everything it has to be faster than.

  python -m benchmarks.labeling

JPEGs as large as ImageNet's, decoding included, go through two classifiers at 160 px:
ResNet-RS-50, and `free`, whose network costs next to nothing, so that the pipeline
itself is seen. Each way runs in processes of its own and uses all cores:

* `ours`: `beam_jobs.label_images` with the engine and precision that it chooses by
  itself, in a short run before; so do the others at equal engine and precision.
* `float32_job`: the same with TensorFlow in float32.
* `threads`: the same in one process that has all cores.
* `bare_processes`, `bare_threads`: decoding in tf.data overlapped with the same engine,
  no Beam; a process for each core, or one. The faster is the yardstick.
* `stock_equal`, `stock_installed`: Beam's ReadAllFromTFRecord, RunInference,
  WriteToTFRecord, with the same engine, or the SavedModel as TensorFlow runs it.
* `ray_equal`, `ray_installed`: Ray Data's read_tfrecords, map_batches, write_parquet.
* `timm`: timm's resnetrs50 in bfloat16, compiled and frozen, with torchvision's decoder
  and the best of several loaders.

They take turns for several rounds; a figure is the median over the rounds, also the
ratio. Speeds are from the first image's begin to the last one's end; `start` is what
comes before. What is not installed is left out. The last line is all figures as JSON.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import pathlib
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks.labeling import goals, inputs, runs
from benchmarks.labeling.bench import SMALL_SHARE, Bench
from benchmarks.labeling.goals import Machine, Verdict
from benchmarks.labeling.peers import PEERS
from benchmarks.labeling.runs import Run
from benchmarks.labeling.task import Task
from benchmarks.measuring.turns import take_turns
from stage import cli

CASES = tuple(sorted({way for ways in goals.YARDSTICKS.values() for way in ways}))
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Turns of each way.", lower_bound=1)
_IMAGES = flags.DEFINE_integer(
    "images", 2000, "Of a turn; the free network gets more.", lower_bound=100
)
_CASES = flags.DEFINE_list(
    "cases", list(CASES), f"What ours is measured beside: {', '.join(CASES)}."
)
_NETWORKS = flags.DEFINE_list(
    "networks", list(inputs.NETWORKS), f"Of {', '.join(inputs.NETWORKS)}."
)


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        _refuse_unknown("cases", _CASES.value, CASES)
        _refuse_unknown("networks", _NETWORKS.value, inputs.NETWORKS)
    cases = _installed(_CASES.value)
    cli.load_tensorflow()
    machine = _read_machine()
    cli.log(str(machine))
    figures: dict[str, Any] = {"machine": dataclasses.asdict(machine)}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(pathlib.Path(directory), machine.cores, _IMAGES.value)
        for network in _NETWORKS.value:
            figures[network] = _measure(bench, network, cases, machine)
        loads = goals.at_most(goals.LOADS, bench.count_loads(_NETWORKS.value[-1]))
    cli.log(f"\n{loads.line()}")
    cli.log(json.dumps({**figures, loads.name: loads.figure}))


def _refuse_unknown(flag: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"--{flag}: expected {', '.join(known)}, got {name!r}")


def _installed(cases: Sequence[str]) -> list[str]:
    """Returns those that can be run; says which cannot."""
    missing = {
        peer: package
        for peer, packages in PEERS.items()
        for package in packages
        if importlib.util.find_spec(package) is None
    }
    found = []
    for case in cases:
        peer = case.partition("_")[0]
        if peer in missing:
            cli.log(f"{case} is left out: {missing[peer]} is not installed")
        else:
            found.append(case)
    return found


def _read_machine() -> Machine:
    from stage.system import num_cores

    cpuinfo = pathlib.Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    return goals.parse_machine(text, num_cores())


def _measure(
    bench: Bench, network: str, cases: Sequence[str], machine: Machine
) -> dict[str, Any]:
    """Returns all figures of a network, and prints them."""
    small = _measure_turn(("first", bench.task(network, SMALL_SHARE)))
    if small.engine is None:
        raise RuntimeError("ours did not say which engine it has chosen")
    wanted = {goals.OURS, *cases} & goals.ways(network)
    tasks = {
        way: task
        for way, task in bench.tasks(network, small.engine).items()
        if way in wanted
    }
    if "timm" in tasks:
        tasks["timm"] = _best(bench.timm_settings(network), tasks["timm"])
    named = {way: (way, task) for way, task in tasks.items()}
    rounds = take_turns(named, _measure_turn, rounds=_ROUNDS.value)
    speeds = {
        way: [run.images_per_second for run in turns] for way, turns in rounds.items()
    }
    verdicts = [
        *goals.ratios(network, speeds, machine),
        *_small_figures(small, rounds),
    ]
    _tell(network, rounds, verdicts)
    return {
        **_figures(tasks, rounds, verdicts),
        "first_start_seconds": round(small.start_seconds, 1),
    }


def _measure_turn(named: tuple[str, Task]) -> Run:
    """Returns what a way reaches; tells it, for a full run takes long."""
    way, task = named
    run = runs.measure(task)
    cli.log(f"{way}: {_row(*run[:3])}")
    return run


def _best(settings: Sequence[Task], whole: Task) -> Task:
    """Returns the fastest of some settings, for all images."""
    runs_of_few = [_measure_turn(("timm tried", task)) for task in settings]
    speeds = [run.images_per_second for run in runs_of_few]
    best = settings[speeds.index(max(speeds))]
    return dataclasses.replace(best, num_images=whole.num_images)


def _small_figures(small: Run, rounds: Mapping[str, Sequence[Run]]) -> list[Verdict]:
    """Returns the verdicts on memory and on the job's start."""
    ours = rounds[goals.OURS]
    megabytes = statistics.median(run.worker_megabytes for run in ours)
    seconds = statistics.median(run.start_seconds for run in ours)
    return [
        goals.at_most(goals.MEMORY, megabytes / small.worker_megabytes),
        goals.at_most(goals.START, seconds),
    ]


def _tell(
    network: str, rounds: Mapping[str, Sequence[Run]], verdicts: Sequence[Verdict]
) -> None:
    engines = sorted({" ".join(run.engine or ()) for run in rounds[goals.OURS]})
    cli.log(f"\n{network}, {' and '.join(engines)}")
    cli.log(f"{'':18}{'images/s':>10}{'start s':>9}{'worker MB':>11}")
    for way, turns in rounds.items():
        cli.log(f"{way:18}{_row(*_medians(turns))}")
    cli.log(f"\n{'':28}{'reached':>8}   goal      met")
    for verdict in verdicts:
        cli.log(verdict.line())


def _row(speed: float, start: float, megabytes: float) -> str:
    return f"{speed:10.1f}{start:9.1f}{megabytes:11.0f}"


def _figures(
    tasks: Mapping[str, Task],
    rounds: Mapping[str, Sequence[Run]],
    verdicts: Sequence[Verdict],
) -> dict[str, Any]:
    medians = {way: _medians(turns) for way, turns in rounds.items()}
    speeds = {
        way: [run.images_per_second for run in turns] for way, turns in rounds.items()
    }
    return {
        "engines": [run.engine for run in rounds[goals.OURS]],
        "bare_loop": goals.fastest(goals.BARE, speeds),
        "timm": [tasks["timm"].processes, tasks["timm"].loaders, tasks["timm"].batch]
        if "timm" in tasks
        else None,
        "images_per_second": {way: round(m[0], 1) for way, m in medians.items()},
        "rounds": {
            way: [round(speed, 1) for speed in turns] for way, turns in speeds.items()
        },
        "start_seconds_by_way": {way: round(m[1], 1) for way, m in medians.items()},
        "worker_megabytes": {way: round(m[2]) for way, m in medians.items()},
        **{verdict.name: verdict.figure for verdict in verdicts},
    }


def _medians(turns: Sequence[Run]) -> tuple[float, float, float]:
    """Returns images a second, seconds of start, megabytes of a worker."""
    return (
        statistics.median(run.images_per_second for run in turns),
        statistics.median(run.start_seconds for run in turns),
        statistics.median(run.worker_megabytes for run in turns),
    )


if __name__ == "__main__":
    cli.run(main)
