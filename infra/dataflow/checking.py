"""The check of what a job on Dataflow needs, printed as it is found."""

from __future__ import annotations

from stage import cli
from workflow.dataflow import checks, gcloud, looking
from workflow.run_file.config import RunConfig


def lacks_something(
    config: RunConfig, *, builds_in_cloud: bool, time_limit: float = looking.TIME_LIMIT
) -> bool:
    """Prints a line for each thing that was looked at; returns whether one is missing.

    Args:
        config: Settings of the run.
        builds_in_cloud: Whether Cloud Build builds the container.
        time_limit: Seconds to wait for an answer of gcloud.

    Raises:
        ValueError: For options or flags that one of the run's jobs would refuse.
    """
    target = looking.read_target(config, builds_in_cloud=builds_in_cloud)
    findings = [checks.NO_GCLOUD]
    if gcloud.is_installed():
        asked = checks.all_of(
            target, lambda queries: gcloud.ask(queries, time_limit=time_limit)
        )
        findings = list(asked)
    for finding in findings:
        cli.log(str(finding))
    return any(finding.state == "FAIL" for finding in findings)
