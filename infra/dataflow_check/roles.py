"""Roles of the workers' account, of the user and of Cloud Build's account.

Only what a policy grants to an account itself can be seen, not what it has as a member
of a group, or by a policy of the folder or organization.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from infra.dataflow_check.findings import Answers, Finding, unseen
from infra.dataflow_check.target import NAME, Target

_GROUPS = ("group:", "domain:", "principalSet:")
_CUSTOM = ("projects/", "organizations/")
_BASIC = ("roles/owner", "roles/editor")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoleNeed:
    """A role that an account needs, in one policy or another.

    Attributes:
        member: The account as policies write it, such as user:ADDRESS.
        roles: The roles that suffice; the first one is what to grant.
        policies: The answers that have the policies.
        grant: Command that grants a role, without member and role.
        is_certain: Whether the account has what policies show, as one has that is
            made for this; a user may have more through groups.
    """

    member: str
    roles: Sequence[str]
    policies: Sequence[str]
    grant: str
    is_certain: bool = True


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
        for need in _of_workers(target):
            yield _judge("workers' role", need, answers)
    for need in _of_user(target, answers):
        yield _judge("your role", need, answers)
    yield from _of_builder(target, answers)


def _of_workers(target: Target) -> Iterator[RoleNeed]:
    member = f"serviceAccount:{target.account}"
    yield RoleNeed(
        member=member,
        roles=("roles/dataflow.worker",),
        policies=("project_roles",),
        grant=_on_project(target),
    )
    yield RoleNeed(
        member=member,
        roles=("roles/storage.objectAdmin", "roles/storage.admin"),
        policies=("bucket_roles", "project_roles"),
        grant=_on_bucket(target),
    )
    if target.image:
        kinds = ("reader", "writer", "repoAdmin", "admin")
        yield RoleNeed(
            member=member,
            roles=tuple(f"roles/artifactregistry.{kind}" for kind in kinds),
            policies=("repository_roles", "project_roles"),
            grant=(
                f"gcloud artifacts repositories add-iam-policy-binding {NAME} "
                f"--location={target.region} --project={target.project}"
            ),
        )


def _of_user(target: Target, answers: Answers) -> Iterator[RoleNeed]:
    accounts = answers["account"].value
    if not accounts:
        return
    account = accounts[0]["account"]
    is_service = account.endswith(".gserviceaccount.com")
    member = f"{'serviceAccount' if is_service else 'user'}:{account}"
    on_account = (
        f"gcloud iam service-accounts add-iam-policy-binding {target.account} "
        f"--project={target.project}"
    )
    for grant, policy, *accepted in (
        (_on_project(target), "", "dataflow.developer", "dataflow.admin", "editor"),
        (on_account, "account_roles", "iam.serviceAccountUser", "editor"),
        (_on_bucket(target), "bucket_roles", "storage.objectAdmin", "storage.admin"),
    ):
        yield RoleNeed(
            member=member,
            roles=tuple(f"roles/{role}" for role in (*accepted, "owner")),
            policies=("project_roles", *([policy] if policy else [])),
            grant=grant,
            is_certain=False,
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
        roles=("roles/cloudbuild.builds.builder", *_BASIC),
        policies=("project_roles",),
        grant=_on_project(target),
    )
    yield _judge(subject, need, answers)


def _judge(subject: str, need: RoleNeed, answers: Answers) -> Finding:
    wanted = need.roles[0]
    granted = [
        (binding["role"], member)
        for policy in need.policies
        for binding in (answers[policy].value or {}).get("bindings", [])
        for member in binding.get("members", [])
    ]
    held = {role for role, member in granted if member == need.member}
    if has := held & set(need.roles):
        return Finding("ok", subject, f"{need.member} has {min(has)}")
    hidden = [answers[name] for name in need.policies if answers[name].reason]
    if hidden:
        return unseen(f"{subject} {wanted}", hidden[0])
    command = f"{need.grant} --member={need.member} --role={wanted}"
    detail = f"{need.member} has no {wanted} of its own"
    if other := [role for role in sorted(held) if role.startswith((*_CUSTOM, *_BASIC))]:
        return Finding("?", subject, f"{detail}; {other[0]} may do as well")
    if any(
        role in need.roles and member.startswith(_GROUPS) for role, member in granted
    ):
        return Finding("?", subject, f"{detail}; a group has it")
    return Finding("FAIL" if need.is_certain else "?", subject, detail, command)


def _on_project(target: Target) -> str:
    return f"gcloud projects add-iam-policy-binding {target.project} --condition=None"


def _on_bucket(target: Target) -> str:
    return f"gcloud storage buckets add-iam-policy-binding {target.url}"
