r"""Looks for what a job on Dataflow needs: one line for each thing, and what to type.

  make dataflow-check PROJECT=my-project REGION=us-central1 BUCKET=my-bucket
  python -m infra.dataflow_check -- --runner=DataflowRunner --project=my-project \
      --region=us-central1 --temp_location=gs://my-bucket/tmp \
      --sdk_container_image=us-central1-docker.pkg.dev/my-project/noisy-student-rs/x:1 \
      --service_account_email=noisy-student-rs@my-project.iam.gserviceaccount.com

A line begins with ok; FAIL for what a job would fail for; cost for what is billed
without need; or ? for what gcloud could not tell. Exits with status 1 if anything is
FAIL. Nothing is changed: all is asked of gcloud, see `infra/dataflow_check/queries.py`.

The options are those of labeling. Those of the other jobs may follow behind another
`--`, and its flags in --labeling_flags; all are refused as the jobs would refuse them.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from stage import cli, interruption
from stage.flags import SOURCES, CommandFlags

if TYPE_CHECKING:
    from infra.dataflow_check.findings import Answers
    from infra.dataflow_check.queries import Queries
    from infra.dataflow_check.target import Target

FLAGS = CommandFlags()
_BEFORE_TRAINING = FLAGS.boolean(
    "before_training",
    False,
    "Look for login, region, container and machines alone, and print nothing if they "
    "are there.",
)
_OWN_IMAGE = FLAGS.boolean(
    "own_image", False, "The container is one of the user's, in whatever registry."
)
_BUILDER = FLAGS.choice(
    "builder", "cloud", ["cloud", "docker"], "What `make container` builds with."
)
_IMAGES = FLAGS.string("images", None, f"Images to label: {SOURCES}.")
_DATA_DIR = FLAGS.data_dir()
_LABELING_FLAGS = FLAGS.string(
    "labeling_flags", None, "Flags of beam_jobs.label_images, separated by blanks."
)
_TIME_LIMIT = FLAGS.number(
    "time_limit", 60.0, "Seconds to wait for an answer of gcloud.", lower_bound=0.1
)


def main(argv: Sequence[str]) -> None:
    """Asks gcloud, and prints what was found."""
    with interruption.on_interrupt(lambda _: "interrupted; nothing was changed"):
        sys.exit(_check(argv))


def _check(argv: Sequence[str]) -> bool:
    """Returns whether something is missing."""
    with cli.exit_on_user_error():
        from infra.dataflow_check import checks, gcloud

        target = _read_target(argv)
    if not gcloud.is_installed():
        _print([checks.NO_GCLOUD])
        return True

    def ask(asked: Queries) -> Answers:
        return gcloud.ask(asked, time_limit=_TIME_LIMIT.value)

    if _BEFORE_TRAINING.value:
        wrong = list(checks.before_training(target, ask))
        _print(wrong)
        return bool(wrong)
    findings = list(checks.all_of(target, ask))
    _print(findings)
    return any(finding.state == "FAIL" for finding in findings)


def _read_target(argv: Sequence[str]) -> Target:
    """Returns what the labeling job needs; raises ValueError for options of any job."""
    from beam_jobs import label_images
    from beam_jobs.runners.run import parse_beam_arguments
    from infra.dataflow_check import target

    program, *words = argv
    groups = itertools.groupby(words, key=lambda word: word == "--")
    jobs = [list(group) for is_end, group in groups if not is_end] or [[]]
    labeling, *_ = [parse_beam_arguments([program, *job], name="check") for job in jobs]
    if _LABELING_FLAGS.value is not None:
        label_images.check_flags(_LABELING_FLAGS.value.split(), labeling)
    images = _IMAGES.value or ""
    return target.from_options(
        labeling,
        # A dataset of TFDS is in --data_dir, or named by its directory.
        images=images if "gs://" in images else _DATA_DIR.value or "",
        owns_image=not _OWN_IMAGE.value,
        builds_in_cloud=_BUILDER.value == "cloud",
    )


def _print(findings: Iterable[object]) -> None:
    for finding in findings:
        cli.log(str(finding))


if __name__ == "__main__":
    cli.run(main, FLAGS)
