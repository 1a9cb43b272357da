"""Roles of the workers' account, of the user and of Cloud Build's account."""

from __future__ import annotations

from collections.abc import Iterator

from workflow.dataflow import grants, user_roles
from workflow.dataflow.findings import Answers, Finding, unseen
from workflow.dataflow.grants import RoleNeed
from workflow.dataflow.target import Target


def roles(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks for the workers' account and the roles of all that take part."""
    found = answers["account_there"]
    subject = "workers' account"
    if found.is_missing:
        name = target.account.partition("@")[0]
        command = f"gcloud iam service-accounts create {name}"
        command = f"{command} --project={target.project}"
        yield Finding("FAIL", subject, f"no {target.account}", command)
    elif found.reason:
        yield unseen(subject, found)
    elif found.value.get("disabled"):
        command = f"gcloud iam service-accounts enable {target.account}"
        command = f"{command} --project={target.project}"
        yield Finding("FAIL", subject, f"{target.account} is disabled", command)
    else:
        yield Finding("ok", subject, target.account)
    if not found.is_missing:
        for need in _of_workers(target, answers):
            yield grants.judge("workers' role", need, answers)
    yield from user_roles.user_roles(target, answers)
    yield from _of_builder(target, answers)


def _of_workers(target: Target, answers: Answers) -> Iterator[RoleNeed]:
    member = f"serviceAccount:{target.account}"
    yield RoleNeed(
        member=member,
        roles=("roles/dataflow.worker",),
        policies=("project_roles",),
        grant=grants.on_project(target),
    )
    yield RoleNeed(
        member=member,
        roles=grants.WRITERS,
        policies=("bucket_roles", "project_roles"),
        grant=grants.on_bucket(target.url),
    )
    if target.images_bucket and not answers["images_bucket"].is_missing:
        yield RoleNeed(
            member=member,
            roles=grants.READERS,
            policies=grants.policies_of_images(answers),
            grant=grants.on_bucket(target.images_url),
        )
    if target.image:
        yield RoleNeed(
            member=member,
            roles=grants.PULLERS,
            policies=("repository_roles", "project_roles"),
            grant=grants.on_repository(target),
        )


def _of_builder(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks whether the account that Cloud Build uses may build."""
    if not target.builds_in_cloud:
        return
    found = answers["builder"]
    subject = "Cloud Build's role"
    if found.reason:
        yield unseen(subject, found)
        return
    account = found.value["serviceAccountEmail"].rpartition("/")[2]
    need = RoleNeed(
        member=f"serviceAccount:{account}",
        roles=("roles/cloudbuild.builds.builder", "roles/editor", grants.OWNER),
        policies=("project_roles",),
        grant=grants.on_project(target),
    )
    yield grants.judge(subject, need, answers)
