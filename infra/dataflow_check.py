r"""Looks for what a job on Dataflow needs: one line for each thing, and what to type.

  make dataflow-check PROJECT=my-project REGION=us-central1 BUCKET=my-bucket
  python -m infra.dataflow_check --set=runner.dataflow.project=my-project \
      --set=runner.dataflow.region=us-central1 --set=runner.dataflow.bucket=my-bucket

A line begins with ok; FAIL for what a job would fail for; cost for what is billed
without need; or ? for what gcloud could not tell. Exits with status 1 if anything is
FAIL. Nothing is changed: all is asked of gcloud, see `workflow/dataflow/queries.py`.

A run file and further settings, such as runner.dataflow.max_workers=40, are those of
the run to come. What one of its jobs would refuse is refused here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from infra.dataflow import settings
from stage import cli, interruption
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_SETTINGS = settings.define(FLAGS)
_BUILDER = settings.define_builder(FLAGS)
_TIME_LIMIT = FLAGS.number(
    "time_limit", 60.0, "Seconds to wait for an answer of gcloud.", lower_bound=0.1
)


def main(argv: Sequence[str]) -> None:
    """Asks gcloud, and prints what was found."""
    with interruption.on_interrupt(lambda _: "interrupted; nothing was changed"):
        with cli.exit_on_user_error():
            from infra.dataflow import checking

            is_lacking = checking.lacks_something(
                settings.read(argv, _SETTINGS.value),
                builds_in_cloud=_BUILDER.value == settings.CLOUD,
                time_limit=_TIME_LIMIT.value,
            )
        sys.exit(is_lacking)


if __name__ == "__main__":
    cli.run(main, FLAGS)
