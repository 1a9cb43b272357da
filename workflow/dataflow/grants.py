"""Roles that an account needs, and whether policies grant them to it.

Only what a policy grants to an account itself can be seen, not what it has as a member
of a group, or by a policy of the folder or organization.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from workflow.dataflow.findings import Answers, Finding, unseen
from workflow.dataflow.target import NAME, Target

OWNER = "roles/owner"
#: Roles that let an account read, or also write, what is in a bucket.
WRITERS = ("roles/storage.objectAdmin", "roles/storage.admin")
READERS = ("roles/storage.objectViewer", "roles/storage.objectUser", *WRITERS)
#: Roles that let an account push a container, or pull one.
PUSHERS = tuple(f"roles/artifactregistry.{name}" for name in ("writer", "repoAdmin"))
PUSHERS += ("roles/artifactregistry.admin",)
PULLERS = ("roles/artifactregistry.reader", *PUSHERS)

_GROUPS = ("group:", "domain:", "principalSet:")
_EVERYBODY = ("allUsers", "allAuthenticatedUsers")
_CUSTOM = ("projects/", "organizations/")
_BASIC = (OWNER, "roles/editor")


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


def judge(subject: str, need: RoleNeed, answers: Answers) -> Finding:
    """Returns whether an account has a role that it needs."""
    wanted = need.roles[0]
    held = held_roles(need.member, need.policies, answers)
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
        role in need.roles and member.startswith(_GROUPS)
        for role, member in _granted(need.policies, answers)
    ):
        return Finding("?", subject, f"{detail}; a group has it")
    return Finding("FAIL" if need.is_certain else "?", subject, detail, command)


def held_roles(member: str, policies: Iterable[str], answers: Answers) -> set[str]:
    """Returns the roles that policies grant to an account, or to everybody."""
    granted = _granted(policies, answers)
    return {role for role, name in granted if name in (member, *_EVERYBODY)}


def _granted(policies: Iterable[str], answers: Answers) -> list[tuple[str, str]]:
    return [
        (binding["role"], member)
        for policy in policies
        for binding in (answers[policy].value or {}).get("bindings", [])
        for member in binding.get("members", [])
    ]


def policies_of_images(answers: Answers) -> tuple[str, ...]:
    """Returns the policies that count in the images' bucket.

    The project's does if the bucket is one of the project's.
    """
    project, bucket = (
        str((answers[name].value or {}).get("projectNumber", name))
        for name in ("project", "images_bucket")
    )
    return ("images_roles", *(["project_roles"] if project == bucket else []))


def on_project(target: Target) -> str:
    """Returns the command that grants a role on the project."""
    return f"gcloud projects add-iam-policy-binding {target.project} --condition=None"


def on_bucket(url: str) -> str:
    """Returns the command that grants a role on a bucket."""
    return f"gcloud storage buckets add-iam-policy-binding {url}"


def on_repository(target: Target) -> str:
    """Returns the command that grants a role on the container repository."""
    return (
        f"gcloud artifacts repositories add-iam-policy-binding {NAME} "
        f"--location={target.region} --project={target.project}"
    )
