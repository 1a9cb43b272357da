"""Runs one way to write in processes of its own."""

from __future__ import annotations

import pathlib
import sys
import tempfile

from benchmarks.measuring.process_watch import watch
from benchmarks.measuring.turns import Figures
from benchmarks.writing.inputs import WritingInputs
from stage.system import num_cores

SPEED = "images_per_second"
SPEED_WITH_START = "images_per_second_with_start"
MEMORY = "peak_memory_gb"
OURS = "ours"
#: Beam's own sink in one process, and in one per core.
STOCK = ("stock", "stock_processes")
#: Ending of the ways that are told to use a process per core.
PROCESSES = "_processes"
WAYS = (OURS, OURS + PROCESSES, *STOCK)


def measure(way: str, inputs: WritingInputs, *, num_shards: int) -> Figures:
    """Writes the dataset into a temporary directory, in one of `WAYS`.

    Returns:
        images_per_second, from the pipeline's start to the command's end;
        start_seconds, from the command's start to the pipeline's; peak_memory_gb, of
        all its processes together; images_per_second_with_start.
    """
    from stage import shard_list

    with tempfile.TemporaryDirectory(dir=inputs.root) as directory:
        output = pathlib.Path(directory) / "dataset"
        command = write_command(way, inputs, str(output), num_shards)
        # Every way lists the input shards there before it starts its pipeline.
        watched = watch(command, has_begun=(output / shard_list.NAME).exists)
    return {
        SPEED: inputs.num_images / (watched.seconds - watched.start_seconds),
        "start_seconds": watched.start_seconds,
        MEMORY: watched.peak_bytes / 1e9,
        SPEED_WITH_START: inputs.num_images / watched.seconds,
    }


def write_command(
    way: str, inputs: WritingInputs, output: str, num_shards: int
) -> list[str]:
    """Returns a way's command line; ours chooses the number of processes itself."""
    is_ours = way.startswith(OURS)
    module = "beam_jobs.write_records" if is_ours else "benchmarks.writing.beam_stock"
    if way.endswith(PROCESSES):
        beam = [f"--direct_num_workers={num_cores()}"]
        beam += ["--direct_running_mode=multi_processing"]
    else:
        beam = [] if is_ours else ["--direct_num_workers=1"]
    return [
        *(sys.executable, "-m", module),
        *(f"--{name}={value}" for name, value in inputs.flags().items()),
        f"--num_shards={num_shards}",
        f"--output={output}",
        *(["--", *beam] if beam else []),
    ]
