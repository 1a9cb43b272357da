r"""Looks for what a job on Dataflow needs: one line for each thing, and what to type.

  make dataflow-check PROJECT=my-project REGION=us-central1 BUCKET=my-bucket
  python -m infra.dataflow_check -- --runner=DataflowRunner --project=my-project \
      --region=us-central1 --temp_location=gs://my-bucket/tmp \
      --sdk_container_image=us-central1-docker.pkg.dev/my-project/noisy-student-rs/x:1 \
      --service_account_email=noisy-student-rs@my-project.iam.gserviceaccount.com

A line begins with ok; FAIL for what a job would fail for; cost for what is billed
without need; or ? for what gcloud could not tell. Exits with status 1 if anything is
FAIL. Nothing is changed: all is asked of gcloud, see `infra/dataflow_check/queries.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_CONTAINER_ONLY = FLAGS.boolean(
    "container_only",
    False,
    "Look for login and container alone, and print nothing if they are there.",
)
_OWN_IMAGE = FLAGS.boolean(
    "own_image", False, "The container is one of the user's, in whatever registry."
)
_BUILDER = FLAGS.choice(
    "builder", "cloud", ["cloud", "docker"], "What `make container` builds with."
)
_TIME_LIMIT = FLAGS.number(
    "time_limit", 60.0, "Seconds to wait for an answer of gcloud.", lower_bound=0.1
)


def main(argv: Sequence[str]) -> None:
    """Asks gcloud, and prints what was found."""
    with cli.exit_on_user_error():
        from beam_jobs.runners.run import parse_beam_arguments
        from infra.dataflow_check import checks, gcloud, queries, target

        if _CONTAINER_ONLY.value and _OWN_IMAGE.value:
            raise ValueError("expected --container_only or --own_image, got both")
        job = target.from_options(
            parse_beam_arguments(argv, name="check"),
            owns_image=not _OWN_IMAGE.value,
            builds_in_cloud=_BUILDER.value == "cloud",
        )
    if not gcloud.is_installed():
        _print([checks.NO_GCLOUD])
        sys.exit(1)
    if _CONTAINER_ONLY.value and job.image:
        asked = queries.for_image(job.image)
        answers = gcloud.ask(asked, time_limit=_TIME_LIMIT.value)
        wrong = [each for each in checks.image(job, answers) if each.state != "ok"]
        _print(wrong)
        sys.exit(bool(wrong))
    answers = gcloud.ask(queries.for_job(job), time_limit=_TIME_LIMIT.value)
    findings = list(checks.all_of(job, answers))
    _print(findings)
    sys.exit(any(finding.state == "FAIL" for finding in findings))


def _print(findings: Iterable[object]) -> None:
    for finding in findings:
        cli.log(str(finding))


if __name__ == "__main__":
    cli.run(main, FLAGS)
