"""Compares the labeling job with its peers.

  python -m benchmarks.labeling

JPEGs as large as ImageNet's, decoding included, go through three classifiers:
ResNet-RS-50 at 160 px; `free`, whose network costs next to nothing, so that it measures
the pipeline itself; and `onnx`, an EfficientNet-Lite0 at 224 px that is an ONNX file.
Each way runs in processes of its own and uses all cores:

* `ours`: `beam_jobs.label_images` with the engine and dtype that it chooses by itself
  in a short run before. The peers at an equal engine have the same.
* `float32_job`: ours with TensorFlow in float32.
* `threads`: ours in one process with all cores.
* `bare_processes`, `bare_threads`: decoding in tf.data overlapped with the same engine,
  without Beam; a process per core, or one. The faster is compared.
* `onnxruntime_processes`, `onnxruntime_threads`: the same around ONNX Runtime itself,
  with which ours has to run the ONNX file, too.
* `stock_equal`, `stock_installed`: Beam's ReadAllFromTFRecord, RunInference,
  WriteToTFRecord, with the same engine, or with the plain SavedModel.
* `ray_equal`, `ray_installed`: Ray Data's read_tfrecords, map_batches, write_parquet.
* `timm`: timm's resnetrs50 in bfloat16, compiled and frozen, with torchvision's decoder
  and the best of several loaders.

All ways have a turn in each round; figures and ratios are medians over the rounds.
Speeds are from the start of the first image to the end of the last; `start` is the
time before. Peers that are not installed are left out. The last line is all figures as
JSON.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.labeling import goals, inputs, runs
from benchmarks.labeling.bench import SMALL_SHARE, LabelingBench
from benchmarks.labeling.goals import CASES, OURS, SPEED, CpuFeatures
from benchmarks.labeling.runs import EngineName
from benchmarks.labeling.task import PEERS, LabelingTask
from benchmarks.measuring import peers
from benchmarks.measuring.goals import Verdict, as_json, log_tables
from benchmarks.measuring.turns import Figures, format_row, take_turns
from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_ROUNDS = FLAGS.integer("rounds", 3, "Number of turns of each way.", lower_bound=1)
_IMAGES = FLAGS.integer(
    "images", 2000, "Images per turn; the free network gets more.", lower_bound=100
)
_CASES = FLAGS.string(
    "cases", ",".join(CASES), "Ways that ours is compared with, separated by commas."
)
_NETWORKS = FLAGS.string(
    "networks", ",".join(inputs.NETWORKS), "Networks, separated by commas."
)


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
        cases = peers.split_names("cases", _CASES.value, CASES)
        networks = peers.split_names("networks", _NETWORKS.value, inputs.NETWORKS)
    packages = {way: packages for way, (_, packages) in PEERS.items()}
    cases = peers.installed(
        {case: packages.get(case.partition("_")[0], ()) for case in cases}
    )
    cli.load_tensorflow()
    cpu = goals.read_cpu()
    cli.log(str(cpu))
    figures: dict[str, Any] = {"machine": cpu._asdict()}
    with tempfile.TemporaryDirectory() as directory:
        bench = LabelingBench(pathlib.Path(directory), cpu.cores, _IMAGES.value)
        for network in networks:
            figures[network] = _measure(bench, network, cases, cpu)
        loads = bench.count_loads(inputs.FREE)
    verdict = Verdict("models_loaded_per_process", loads, at_most=goals.MAX_LOADS)
    cli.log(f"\n{verdict.line()}")
    cli.log(json.dumps(figures | as_json([verdict])))


def _measure(
    bench: LabelingBench, network: str, cases: Sequence[str], cpu: CpuFeatures
) -> dict[str, Any]:
    """Returns all figures of a network, and prints them."""
    small, engine = _measure_turn("first", bench.task(network, SMALL_SHARE))
    if network == inputs.ONNX:  # Though OpenVINO may be faster.
        engine = goals.ONNX_ENGINE
    tasks = bench.tasks(network, engine)
    wanted = {OURS, *cases} & goals.ways(network)
    if "timm" in wanted:
        tasks["timm"] = _fastest_setting(bench.timm_settings(network), tasks["timm"])
    engines = []

    def measure(way: str) -> Figures:
        figures, engine = _measure_turn(way, tasks[way])
        if way == OURS:
            engines.append(engine)
        return figures

    ways = [way for way in tasks if way in wanted]
    rounds = take_turns(ways, measure, rounds=_ROUNDS.value)
    growth = rounds.median(OURS, "worker_megabytes") / small["worker_megabytes"]
    start = rounds.median(OURS, "start_seconds")
    verdicts = [
        *goals.ratios(network, rounds, cpu),
        Verdict("memory_ratio_10x", growth, at_most=goals.MAX_MEMORY_RATIO),
        Verdict("start_seconds", start, at_most=goals.MAX_START_SECONDS),
    ]
    names = sorted({f"{engine} {dtype}" for engine, dtype in engines})
    cli.log(f"\n{network}, {' and '.join(names)}")
    log_tables(rounds, verdicts)
    timm = tasks["timm"]
    return {
        "engines": engines,
        "bare_loop": rounds.best(goals.BARE, SPEED),
        "timm": [timm.processes, timm.loaders, timm.batch] if "timm" in ways else None,
        SPEED: rounds.medians(SPEED),
        "rounds": rounds.all(SPEED),
        "start_seconds_by_way": rounds.medians("start_seconds"),
        "worker_megabytes": rounds.medians("worker_megabytes"),
        **as_json(verdicts),
        "first_start_seconds": round(small["start_seconds"], 1),
    }


def _measure_turn(way: str, task: LabelingTask) -> tuple[Figures, EngineName]:
    """Runs a task and prints its figures at once: all rounds together take long."""
    figures, engine = runs.measure(task)
    cli.log(format_row(way, figures))
    return figures, engine


def _fastest_setting(
    settings: Sequence[LabelingTask], full: LabelingTask
) -> LabelingTask:
    """Returns the fastest setting, for the images of the full task."""
    speeds = [_measure_turn("timm tried", task)[0][SPEED] for task in settings]
    best = settings[speeds.index(max(speeds))]
    return dataclasses.replace(best, num_images=full.num_images)


if __name__ == "__main__":
    cli.run(main, FLAGS)
