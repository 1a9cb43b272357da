"""What is measured beside what: every way to label, with its images and classifier."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

from benchmarks.labeling import inputs, runs
from benchmarks.labeling.goals import OURS
from benchmarks.labeling.task import Task, Timesheet

#: Images of a file, about as many as in ImageNet's.
SHARD_SIZE = 1000
#: Times as many images for the free network.
FREE_SHARE = 8
#: Those that are several times slower get a part of the images.
SLOW_SHARE = 1 / 2
#: Images of a call, where it is tried whether few are faster than many.
FEW_AT_ONCE = 8
#: Of the run that memory is compared with.
SMALL_SHARE = 1 / 10


@dataclasses.dataclass(frozen=True)
class Bench:
    """The ways that are measured, and what they label.

    Attributes:
        directory: Empty; images and classifiers are made there when they are needed.
        cores: That every way uses.
        images: Of a turn with the large network.
    """

    directory: pathlib.Path
    cores: int
    images: int

    @functools.cached_property
    def _jpegs(self) -> list[bytes]:
        return inputs.write_jpegs(self.directory / "jpegs")

    def task(self, network: str, share: float = 1.0) -> Task:
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
        return Task(
            way=OURS,
            classifier=str(classifier),
            records=str(records),
            jpegs=str(self.directory / "jpegs"),
            num_images=shards * size,
            processes=self.cores,
        )

    def tasks(self, network: str, engine: tuple[str, str]) -> dict[str, Task]:
        """Returns every way through the images.

        Args:
            network: To be run.
            engine: And precision, where they shall be equal to ours.
        """
        whole = self.task(network)
        few = self.task(network, SLOW_SHARE) if network == inputs.RESNET else whole
        equal = dataclasses.replace(whole, engine=engine[0], dtype=engine[1])
        in_one = dataclasses.replace(equal, processes=1, threads=self.cores)
        found = {
            OURS: equal,
            "threads": in_one,
            "float32_job": dataclasses.replace(
                few, engine="tensorflow", dtype="float32"
            ),
            "bare_processes": dataclasses.replace(equal, way="bare"),
            "bare_threads": dataclasses.replace(in_one, way="bare"),
            "timm": dataclasses.replace(whole, way="timm"),
        }
        for way in ("stock", "ray"):
            found[f"{way}_equal"] = dataclasses.replace(equal, way=way)
            found[f"{way}_installed"] = dataclasses.replace(few, way=way)
        return found

    def timm_settings(self, network: str) -> list[Task]:
        """Returns what timm's best is sought among, with few images."""
        few = dataclasses.replace(self.task(network, SLOW_SHARE), way="timm")
        return [
            few,
            dataclasses.replace(few, batch=FEW_AT_ONCE),
            *(
                dataclasses.replace(
                    few, processes=1, threads=self.cores, loaders=loaders
                )
                for loaders in sorted({1, self.cores})
            ),
        ]

    def count_loads(self, network: str) -> int:
        """Returns how often a worker of ours loads the model: the most of any.

        The job runs a model that notes it, as one of the user's own, on more shards
        than there are workers.
        """
        records = self.directory / "records-many"
        inputs.write_records(records, self._jpegs, shards=4 * self.cores, size=8)
        task = dataclasses.replace(self.task(network), records=str(records))
        sheet = Timesheet(str(self.directory / "sheet"))
        pathlib.Path(sheet.directory).mkdir()
        handler, names = self.directory / "handler", self.directory / "names.txt"
        names.write_text("\n".join(inputs.class_names()) + "\n")
        handler.write_text(f"{sheet.directory}\n{task.to_json()}\n")
        model = [
            f"--model_handler=benchmarks.labeling.beam_stock:read_handler:{handler}",
            f"--class_names={names}",
        ]
        runs.watch(runs.label_command(task, self.directory / "noted", model))
        return max(sheet.loads())
