"""Labeling in this process, step by step as `beam_jobs.label_images` does it."""

import re
import sys

import pyarrow.parquet as pq
from etils import epath

from beam_jobs.io import filesystems
from beam_jobs.labeling import job as labeling_job
from beam_jobs.labeling.job import LabelingConfig
from beam_jobs.runners.run import parse_beam_arguments
from classifier.data import shard_manifest
from classifier.data.sources import open_source
from stage import artifact, cli

#: An engine that is asked for needs no trial.
REFERENCE = {"engine": "tensorflow", "dtype": "float32"}
OPTIONS = parse_beam_arguments(["", "--direct_num_workers=1"], name="faults")
FILES = {"config.json", "shards.parquet", "summary.json", "COMPLETED"}


def settings(*teachers, **more):
    return LabelingConfig(teachers=tuple(map(str, teachers)), **{**REFERENCE, **more})


def label(images, output, asked, *, then=lambda: None):
    """Labels a source.

    Args:
        images: As `--images`.
        output: Directory of the predictions.
        asked: Returns the settings, or raises on what is wrong with them.
        then: Is done between listing and reading.

    Returns:
        What the command would say last.

    Raises:
        SystemExit: With the words that the command ends with.
    """
    with cli.exit_on_user_error():
        asked = asked()
        filesystems.register(OPTIONS)
        allow = asked.allow_new_shards
        source = shard_manifest.match(
            open_source(images), str(output), allow_new_shards=allow
        )
        job = labeling_job.plan(source, asked, output=str(output))
        if labeling_job.begin(source, job, asked):
            return "already complete"
    then()
    try:
        with artifact.locked(str(output)):
            speed = labeling_job.run(job.labeling, OPTIONS, log=lambda line: None)
            said = labeling_job.finish(job.labeling, **speed)
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    artifact.complete(str(output), seconds=0.0, **speed)
    return said


def read_rows(output, *, may_be_unfinished=False):
    """Returns the rows of all predictions, after a look at what else is there.

    What a process was writing when it was killed may lie beside them.
    """
    rows = []
    for path in sorted(epath.Path(output).iterdir()):
        if re.fullmatch(r"predictions-\d{5}\.parquet", path.name):
            rows += pq.read_table(str(path)).to_pylist()
        elif not (may_be_unfinished and artifact.is_unfinished(path)):
            assert path.name in FILES, path
    return rows
