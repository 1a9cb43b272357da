"""All checks, in the order of the documentation."""

from __future__ import annotations

from collections.abc import Iterator

from infra.dataflow_check import container, machines, project, roles
from infra.dataflow_check.findings import Answers, Check, Finding
from infra.dataflow_check.target import Target

NO_GCLOUD = Finding(
    "FAIL", "gcloud", "not installed", "see https://cloud.google.com/sdk/docs/install"
)
_CHECKS: tuple[Check, ...] = (
    project.project,
    project.services,
    project.bucket,
    container.container,
    roles.roles,
    project.network,
    machines.offered,
    machines.quotas,
)


def all_of(target: Target, answers: Answers) -> Iterator[Finding]:
    """Yields what follows from the answers to `queries.for_job`."""
    login, login_for_beam = project.login(answers)
    yield from (login, login_for_beam)
    if login.state != "ok":
        yield Finding("?", "all else", "gcloud tells nothing without a login")
        return
    for check in _CHECKS:
        yield from check(target, answers)


def image(target: Target, answers: Answers) -> Iterator[Finding]:
    """Yields what follows from the answers to `queries.for_image`."""
    login, login_for_beam = project.login(answers)
    yield from (login, login_for_beam)
    if login.state == "ok":
        yield container.image(target, answers)
