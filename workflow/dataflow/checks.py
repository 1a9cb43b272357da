"""All checks, in the order of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from workflow.dataflow import container, machines, project, queries, roles, shapes
from workflow.dataflow.findings import Answers, Check, Finding
from workflow.dataflow.queries import Queries
from workflow.dataflow.target import Target

#: Returns the answers to some queries.
Ask: TypeAlias = Callable[[Queries], Answers]

NO_GCLOUD = Finding(
    "FAIL", "gcloud", "not installed", "see https://cloud.google.com/sdk/docs/install"
)
_CHECKS: tuple[Check, ...] = (
    project.project,
    project.services,
    project.bucket,
    project.images_bucket,
    container.container,
    roles.roles,
    project.network,
    machines.offered,
    machines.quotas,
)


def all_of(target: Target, ask: Ask) -> Iterator[Finding]:
    """Yields what was found of all things."""
    access = shapes.understood(ask(queries.for_access(target)))
    found, lack = _access(target, access)
    yield from found
    if lack:
        yield Finding("?", "all else", f"not looked for without {lack}")
        return
    answers = {**access, **shapes.understood(ask(queries.for_job(target)))}
    for check in _CHECKS:
        yield from check(target, answers)


def before_training(target: Target, ask: Ask) -> Iterator[Finding]:
    """Yields why a run would train for hours and then fail, as far as few queries tell.

    Who may start jobs need not be allowed to list regions and machines, so that these
    may be unknown.
    """
    access = shapes.understood(ask(queries.for_access(target)))
    found, lack = _access(target, access)
    if lack:
        yield from (each for each in found if each.state != "ok")
        return
    answers = shapes.understood(ask(queries.for_training(target)))
    found += machines.offered(target, answers)
    yield from (each for each in found if each.state == "FAIL")
    if target.image and (image := container.image(target, answers)).state != "ok":
        yield image


def _access(target: Target, answers: Answers) -> tuple[list[Finding], str]:
    """Returns what was found of login and region, and what is needed for all else."""
    login, login_for_beam = project.login(answers)
    if login.state != "ok":
        return [login, login_for_beam], "a login"
    region = project.region(target, answers)
    lack = "a region" if region.state == "FAIL" else ""
    return [login, login_for_beam, region], lack
