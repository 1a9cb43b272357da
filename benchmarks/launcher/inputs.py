"""Finished predictions of many shards, as a labeling job leaves them in a bucket."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from typing import Any

import numpy as np
import pyarrow as pa
from etils import epath

from beam_jobs.labeling import worker as labeling_worker
from beam_jobs.labeling.worker import Labeling, Teachers
from benchmarks.launcher.bucket_server import BUCKET
from classifier.data import shard_manifest
from classifier.data.examples import File
from classifier.data.readers import RecordReader
from classifier.data.sources import Shard, Source
from pseudo_label.predictions import schema as prediction_schema
from stage import artifact
from stage.status import OK

FOLDER = "predictions"
OUTPUT = f"gs://{BUCKET}/{FOLDER}"
#: Images of a shard, whose file then has about as many bytes as are read at once.
ROWS = 200
_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class LabeledSource:
    """A source and the job that has labeled it.

    Attributes:
        source: Files of records in a bucket, one for each shard.
        config: Config of the job.
        labeling: What its workers need.
    """

    source: Source
    config: dict[str, Any]
    labeling: Labeling


def make_job(num_shards: int) -> LabeledSource:
    """Returns a job of so many shards."""
    files = (
        File(path=f"gs://{BUCKET}/images/{name}", name=name, size=1000, mtime_ns=10**9)
        for name in (f"{index:05d}.tfrecord" for index in range(num_shards))
    )
    shards = tuple(Shard(index, (file,)) for index, file in enumerate(files))
    reader = RecordReader()
    source = Source(f"tfrecord:gs://{BUCKET}/images/*", shards, None, reader)
    config = {
        "images": source.describe(),
        "teachers": ["0" * 64],
        "class_names": [f"class {label}" for label in range(_CLASSES)],
        "temperature": 1.0,
        "top_k": _CLASSES,
    }
    labeling = Labeling(
        reader=reader,
        num_shards=num_shards,
        predictor=Teachers(directories=[]),
        top_k=_CLASSES,
        output=OUTPUT,
        fingerprint=artifact.config_fingerprint(config, leaving_out="images"),
    )
    return LabeledSource(source, config, labeling)


def make_objects(job: LabeledSource) -> dict[str, bytes]:
    """Returns the content of the bucket by name."""
    with tempfile.TemporaryDirectory() as directory:
        artifact.start_or_resume(directory, job.config)
        shard_manifest.freeze(job.source, directory, allow_new_shards=False)
        paths = list(epath.Path(directory).iterdir())
        found = {f"{FOLDER}/{path.name}": path.read_bytes() for path in paths}
    rows = _make_rows()
    for shard in job.source.shards:
        file = io.BytesIO()
        prediction_schema.write_shard(
            file,
            iter([rows]),
            fingerprint=job.labeling.fingerprint,
            shard=labeling_worker.fingerprint(shard),
        )
        name = prediction_schema.shard_name(shard.index)
        found[f"{FOLDER}/{name}"] = file.getvalue()
    return found


def _make_rows() -> pa.Table:
    block = prediction_schema.Block(
        first_index=0,
        keys=[f"image {row}" for row in range(ROWS)],
        images=[b"%d" % row for row in range(ROWS)],
        status=[OK] * ROWS,
        errors=[""] * ROWS,
        probabilities=np.full((ROWS, _CLASSES), 1 / _CLASSES, np.float32),
        pixels=np.zeros((ROWS, 8, 8, 3), np.uint8),
    )
    return prediction_schema.to_table(block, top_k=_CLASSES)
