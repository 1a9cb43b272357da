"""A small chain without a network: made-up predictions, a selection, a dataset."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from beam_jobs.runners.run import parse_beam_arguments
from beam_jobs.writing import job as writing_job
from beam_jobs.writing import worker as writing_worker
from classifier.data.examples import key_text
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from pseudo_label.deduplication import near_duplicates
from pseudo_label.predictions import schema as prediction_schema
from pseudo_label.predictions.prediction_set import open_predictions
from pseudo_label.selection.decision import (
    ClassRule,
    Funnel,
    Selection,
    SelectionConfig,
)
from pseudo_label.selection.order_statistics import OrderStatistic
from pseudo_label.selection.thresholds import ThresholdConfig
from stage import artifact
from tests.images import random_images, write_records

CLASS_NAMES = ("ant", "bee | wasp", "cat <img>")
TOP_K = 2
_SORT_KEY = ("confidence", "key_hash", "key")
OPTIONS = parse_beam_arguments(["", "--direct_num_workers=1"], name="chain")


@dataclasses.dataclass(frozen=True)
class Chain:
    """Directories of the stages of one run, inside the directory `root`."""

    root: pathlib.Path

    @property
    def images(self) -> str:
        """Value of the flag `--images`."""
        return f"tfrecord:{self.root}/images/part-*"

    @property
    def predictions(self) -> str:
        """Directory of the predictions."""
        return str(self.root / "predictions")

    @property
    def selection(self) -> str:
        """Directory of the selection."""
        return str(self.root / "selection")

    @property
    def dataset(self) -> pathlib.Path:
        """Directory of the dataset."""
        return self.root / "dataset"

    def plan(self, **more: Any) -> writing_worker.WritingJob:
        """Returns the writing job."""
        settings = {
            "source": open_source(self.images),
            "predictions": self.predictions,
            "selection": self.selection,
            "round_number": 1,
            "num_shards": 6,
            "output": str(self.dataset),
        }
        return writing_job.plan(**{**settings, **more})

    def write(self, **more: Any) -> writing_worker.WritingJob:
        """Writes the dataset, as the command does."""
        job = self.plan(**more)
        artifact.start_or_resume(job.output, job.config)
        writing_job.run(job, OPTIONS)
        writing_job.finish(job)
        artifact.complete(job.output, seconds=0.0)
        return job


def make(
    root: pathlib.Path,
    *,
    num_shards: int = 3,
    per_shard: int = 8,
    teachers: tuple[str, ...] = ("0123abc",),
    images: Sequence[bytes] = (),
    **selection: Any,
) -> Chain:
    """Makes images, predictions of them and a selection.

    Args:
        root: Directory of the run.
        num_shards: Number of shards of images.
        per_shard: Images of each shard.
        teachers: Fingerprints of the classifiers.
        images: Encoded images, if not random ones.
        selection: Further arguments of `select`.
    """
    chain = Chain(root)
    images = images or random_images(num_shards * per_shard)
    for shard in range(num_shards):
        write_records(root / "images" / f"part-{shard:02d}", images[shard::num_shards])
    predict(chain, teachers)
    select(chain, **selection)
    return chain


def predict(chain: Chain, teachers: tuple[str, ...]) -> None:
    """Makes up predictions, as a labeling job would write them."""
    source = open_source(chain.images)
    config = {
        "images": source.describe(),
        "teachers": list(teachers),
        "class_names": list(CLASS_NAMES),
        "top_k": TOP_K,
    }
    artifact.start_or_resume(chain.predictions, config)
    fingerprint = artifact.config_fingerprint(config, leaving_out="images")
    for shard in source.shards:
        examples = list(read_examples(source.reader, shard.files))
        probabilities = np.random.default_rng(shard.index).dirichlet(
            [0.3] * len(CLASS_NAMES), len(examples)
        )
        # The first image of each shard has no prediction.
        status = ["undecodable", *["ok"] * (len(examples) - 1)]
        block = prediction_schema.Block(
            first_index=0,
            keys=[key_text(example.key) for example in examples],
            images=[example.image for example in examples],
            status=status,
            errors=["" if code == "ok" else "broken" for code in status],
            probabilities=probabilities.astype(np.float32),
            pixels=np.random.default_rng(shard.index).integers(
                0, 256, (len(examples), 32, 32, 3), dtype=np.uint8
            ),
        )
        path = pathlib.Path(chain.predictions) / prediction_schema.shard_name(
            shard.index
        )
        with path.open("wb") as file:
            prediction_schema.write_shard(
                file,
                iter([prediction_schema.to_table(block, top_k=TOP_K)]),
                fingerprint=fingerprint,
            )
    artifact.complete(chain.predictions, seconds=0.0)


def rewrite(path: pathlib.Path, table: pa.Table) -> None:
    """Replaces the rows of a predictions file, as if they had been labeled so."""
    fingerprint = prediction_schema.read_facts(epath.Path(path)).fingerprint
    table = table.cast(prediction_schema.schema())
    with path.open("wb") as file:
        prediction_schema.write_shard(file, iter([table]), fingerprint=fingerprint)


def select(
    chain: Chain,
    *,
    threshold: float = 0.5,
    images_per_class: int = 9,
    max_copies: int = 3,
    dropped: dict[int, list[int]] | None = None,
) -> None:
    """Selects by sorting all predictions; `dropped` are the duplicates by shard."""
    directory = pathlib.Path(chain.selection)
    rows = []
    for index, path in enumerate(sorted(pathlib.Path(chain.predictions).glob("p*"))):
        of_shard = pq.read_table(path).to_pylist()
        positions = (dropped or {}).get(index, [])
        rows += [{**row, "dropped": i in positions} for i, row in enumerate(of_shard)]
    settings = SelectionConfig(
        thresholds=ThresholdConfig(rule="fixed", values=(threshold,)),
        images_per_class=images_per_class,
        max_copies=max_copies,
    )
    rules = tuple(
        _rule(name, [row for row in rows if row["label"] == label], settings)
        for label, name in enumerate(CLASS_NAMES)
    )
    config = {"settings": dataclasses.asdict(settings)}
    selection = Selection(
        settings=settings,
        predictions=open_predictions(chain.predictions).fingerprint,
        funnel=_funnel(rows, rules),
        classes=rules,
        fingerprint=artifact.config_fingerprint(config),
    )
    artifact.start_or_resume(directory, config)
    artifact.write_json(epath.Path(directory) / "selection.json", selection.to_json())
    for index, positions in (dropped or {}).items():
        shard = chain.predictions + f"/predictions-{index:05d}.parquet"
        keys = pq.read_table(shard)["key"].to_pylist()
        dropped_rows = [
            {"record_index": position, "key": keys[position], "reason": "duplicate"}
            for position in positions
        ]
        near_duplicates.write_dropped(
            directory,
            index,
            pa.Table.from_pylist(dropped_rows, near_duplicates.dropped_schema()),
            selection=selection.fingerprint,
        )
    artifact.complete(directory, seconds=0.0)


def _rule(
    name: str, rows: list[dict[str, Any]], settings: SelectionConfig
) -> ClassRule:
    (threshold,) = settings.thresholds.values
    rows = [r for r in rows if not r["dropped"] and r["confidence"] >= threshold]
    rows.sort(key=lambda row: (-row["confidence"], row["key_hash"], row["key"]))
    kept = rows[: settings.images_per_class]
    records = min(len(kept) * settings.max_copies, settings.images_per_class)
    copies, extra = divmod(records, max(1, len(kept)))
    keys = [OrderStatistic(*(row[name] for name in _SORT_KEY)) for row in kept]
    return ClassRule(
        name=name,
        threshold=threshold,
        confident=len(rows),
        unique=len(kept),
        records=records,
        cut_off=keys[-1] if kept else None,
        copies=copies,
        extra_cut_off=keys[extra - 1] if extra else None,
    )


def _funnel(rows: list[dict[str, Any]], rules: tuple[ClassRule, ...]) -> Funnel:
    undecodable = sum(row["status"] != "ok" for row in rows)
    dropped = sum(row["dropped"] for row in rows)
    confident = sum(rule.confident for rule in rules)
    unique = sum(rule.unique for rule in rules)
    records = sum(rule.records for rule in rules)
    return Funnel(
        read=len(rows),
        undecodable=undecodable,
        leaked=0,
        duplicate=dropped,
        below_threshold=len(rows) - undecodable - dropped - confident,
        beyond_quota=confident - unique,
        unique_kept=unique,
        copies=records - unique,
        records=records,
    )
