"""All ways to label, each with its images and its classifier."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from dataclasses import replace

from benchmarks.labeling import inputs, runs
from benchmarks.labeling.goals import OURS
from benchmarks.labeling.runs import EngineName
from benchmarks.labeling.task import LabelingTask, RunLog
from benchmarks.measuring.process_watch import watch

#: Images per file, about as many as in ImageNet's.
SHARD_SIZE = 1000
#: The free network gets this many times as many images.
FREE_SHARE = 8
#: Share of the images for ways that are several times slower.
SLOW_SHARE = 1 / 2
#: Images per call in one of timm's settings; elsewhere `BATCH_SIZE`.
SMALL_BATCH = 8
#: Share of the images in the run that memory is compared with.
SMALL_SHARE = 1 / 10


@dataclasses.dataclass(frozen=True)
class LabelingBench:
    """Makes tasks, and their inputs when they are needed.

    Attributes:
        directory: Empty directory for images and classifiers.
        cores: Number of cores, all used by every way.
        images: Images per turn with the large network.
    """

    directory: pathlib.Path
    cores: int
    images: int

    @functools.cached_property
    def _jpegs(self) -> list[bytes]:
        return inputs.write_jpegs(self.directory / "jpegs")

    def task(self, network: str, share: float = 1.0) -> LabelingTask:
        """Returns our default way through a share of the images."""
        wanted = share * self.images * (FREE_SHARE if network == inputs.FREE else 1)
        shards = self.cores * max(1, round(wanted / SHARD_SIZE / self.cores))
        size = max(1, round(wanted / shards))
        records = self.directory / f"records-{shards}-{size}"
        if not records.exists():
            inputs.write_records(records, self._jpegs, shards=shards, size=size)
        classifier = self.directory / network
        if not classifier.exists():
            inputs.export_network(network, classifier, self._jpegs)
        return LabelingTask(
            way=OURS,
            classifier=str(classifier),
            records=str(records),
            jpegs=str(self.directory / "jpegs"),
            num_images=shards * size,
            processes=self.cores,
        )

    def tasks(self, network: str, engine: EngineName) -> dict[str, LabelingTask]:
        """Returns every way; `engine` is of ours and of the peers at an equal one."""
        full = self.task(network)
        slow = self.task(network, SLOW_SHARE) if network == inputs.RESNET else full
        equal = replace(full, engine=engine[0], dtype=engine[1])
        in_one = replace(equal, processes=1, threads=self.cores)
        tasks = {
            OURS: equal,
            "threads": in_one,
            "float32_job": replace(slow, engine="tensorflow", dtype="float32"),
            "bare_processes": replace(equal, way="bare"),
            "bare_threads": replace(in_one, way="bare"),
            "onnxruntime_processes": replace(equal, way="onnxruntime"),
            "onnxruntime_threads": replace(in_one, way="onnxruntime"),
            "timm": replace(full, way="timm"),
        }
        for way in ("stock", "ray"):
            tasks[f"{way}_equal"] = replace(equal, way=way)
            tasks[f"{way}_installed"] = replace(slow, way=way)
        return tasks

    def timm_settings(self, network: str) -> list[LabelingTask]:
        """Returns the settings, with few images, among which timm's best is sought."""
        few = replace(self.task(network, SLOW_SHARE), way="timm")
        in_one = replace(few, processes=1, threads=self.cores)
        loaders = sorted({1, self.cores})
        settings = [replace(in_one, loaders=number) for number in loaders]
        return [few, replace(few, batch=SMALL_BATCH), *settings]

    def count_loads(self, network: str) -> int:
        """Returns how often a worker of ours loads the model: the maximum over workers.

        The job has more shards than workers, and a model handler that logs loads.
        """
        records = self.directory / "records-many"
        inputs.write_records(records, self._jpegs, shards=4 * self.cores, size=8)
        task = replace(self.task(network), records=str(records))
        (self.directory / "log").mkdir()
        run_log = RunLog(str(self.directory / "log"))
        handler, names = self.directory / "handler", self.directory / "names.txt"
        names.write_text("\n".join(inputs.CLASS_NAMES) + "\n")
        handler.write_text(json.dumps([run_log.directory, dataclasses.asdict(task)]))
        model = [
            f"--model_handler=benchmarks.labeling.beam_stock:read_handler:{handler}",
            f"--class_names={names}",
        ]
        watch(runs.label_command(task, self.directory / "loads", model))
        return max(run_log.loads())
