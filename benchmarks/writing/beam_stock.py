"""Plain Beam: the same records through WriteToTFRecord(num_shards=...).

Takes the flags of `beam_jobs.write_records`, reads the same images and makes the same
records of them. Only the sink differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stage import artifact, cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_IMAGES = FLAGS.string("images", None, "Source of the images.", required=True)
_PREDICTIONS = FLAGS.artifact("predictions")
_SELECTION = FLAGS.artifact("selection")
_NUM_SHARDS = FLAGS.num_shards(4, "Number of output files.")
_OUTPUT = FLAGS.output("Output directory.")


def main(argv: Sequence[str]) -> None:
    """Writes the records."""
    cli.load_tensorflow()
    import apache_beam as beam

    from beam_jobs.io import shards
    from beam_jobs.runners import run as runners
    from beam_jobs.runners.options import PipelineJob
    from beam_jobs.writing import job as writing_job
    from classifier.data import shard_manifest
    from classifier.data.sources import open_source
    from pseudo_label.dataset import records

    options = runners.parse_beam_arguments(argv, name=_OUTPUT.value)
    job = writing_job.plan(
        open_source(_IMAGES.value),
        predictions=_PREDICTIONS.value,
        selection=_SELECTION.value,
        round_number=1,
        num_shards=_NUM_SHARDS.value,
        output=_OUTPUT.value,
    )
    artifact.start_or_resume(job.output, job.config)
    shard_manifest.freeze(job.source, job.output, allow_new_shards=False)

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            pipeline
            | shards.Shards(job.predictions.num_shards)
            | beam.FlatMap(read_records, job.without_shards())
            | beam.io.WriteToTFRecord(
                f"{job.output}/{records.NAME}", num_shards=job.num_shards
            )
        )

    pipeline_job = PipelineJob(build=build, output=job.output, may_shuffle=True)
    runners.run_pipeline(pipeline_job, options)


def read_records(index: int, job: Any) -> Iterator[bytes]:
    """Yields the serialized records of an input shard."""
    from beam_jobs.writing import worker as writing_worker
    from pseudo_label.dataset import records

    for row, copies, image in writing_worker.selected_images(job, index):
        for copy in range(copies):
            yield records.serialize(
                writing_worker.make_record(job, index, row, image, copy)
            )


if __name__ == "__main__":
    cli.run(main, FLAGS)
