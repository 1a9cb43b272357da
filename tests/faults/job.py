"""Labeling in this process, step by step as `beam_jobs.label_images` does it."""

import re
import time

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
FILES = {
    *("config.json", "licenses.json", "shards.list", "summary.json", "COMPLETED"),
}


def settings(*teachers, **more):
    engine = REFERENCE if teachers else {}
    return LabelingConfig(teachers=tuple(map(str, teachers)), **{**engine, **more})


def label(images, output, make_settings, *, before_reading=lambda: None):
    """Labels a source.

    Args:
        images: As `--images`.
        output: Directory of the predictions.
        make_settings: Returns the settings, or raises on what is wrong with them.
        before_reading: Called between listing and reading.

    Returns:
        The last line that the command prints.

    Raises:
        SystemExit: With the message of the command, if it fails.
    """
    started = time.monotonic()
    with cli.exit_on_user_error():
        settings = make_settings()
        filesystems.register(OPTIONS)
        allow = settings.allow_new_shards
        source = shard_manifest.match(
            open_source(images), str(output), allow_new_shards=allow
        )
        job = labeling_job.plan(source, settings, output=str(output))
    with (
        cli.exit_on_job_error(),
        labeling_job.beginning(source, job, settings) as is_complete,
    ):
        if is_complete:
            return "already complete"
        before_reading()
        speed = labeling_job.run(job.labeling, OPTIONS, log=lambda line: None)
        summary = labeling_job.finish(job.labeling, source.shards, **speed)
        artifact.complete(output, seconds=time.monotonic() - started)
        return summary


def read_rows(output, *, may_be_unfinished=False):
    """Returns the rows of all predictions; checks that there are no unexpected files.

    With `may_be_unfinished`, a killed process may have left temporary files.
    """
    rows = []
    for path in sorted(epath.Path(output).iterdir()):
        if re.fullmatch(r"predictions-\d{5}\.parquet", path.name):
            rows += pq.read_table(str(path)).to_pylist()
        elif not (may_be_unfinished and artifact.is_unfinished(path)):
            assert path.name in FILES, path
    return rows
