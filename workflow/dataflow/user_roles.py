"""Roles of the user who builds the container and starts jobs.

gcloud tests no permissions, so that all is read in policies; what they do not show may
come from a group, a folder or the organization, and is not known.
"""

from __future__ import annotations

from collections.abc import Iterator

from workflow.dataflow import grants
from workflow.dataflow.findings import Answers, Finding, unseen
from workflow.dataflow.grants import RoleNeed
from workflow.dataflow.target import Target

#: Beam asks for the bucket's location.
_METADATA = tuple(
    f"roles/storage.{name}"
    for name in (
        *("legacyBucketReader", "legacyBucketWriter", "legacyBucketOwner"),
        *("bucketViewer", "admin"),
    )
)


def user_roles(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks for the roles that the documentation lists, unless the user is an owner."""
    accounts = answers["account"].value
    if not accounts:
        return
    account = accounts[0]["account"]
    is_service = account.endswith(".gserviceaccount.com")
    member = f"{'serviceAccount' if is_service else 'user'}:{account}"
    policy, subject = answers["project_roles"], "your roles"
    if policy.reason:
        yield unseen(subject, policy)
        return
    needs = list(_needs(member, target, answers))
    if grants.OWNER in grants.held_roles(member, ["project_roles"], answers):
        yield Finding("ok", subject, f"{member} has {grants.OWNER}")
        needs = [need for need in needs if "project_roles" not in need.policies]
    for need in needs:
        yield grants.judge("your role", need, answers)


def _needs(member: str, target: Target, answers: Answers) -> Iterator[RoleNeed]:
    def need(grant: str, policies: tuple[str, ...], *roles: str) -> RoleNeed:
        return RoleNeed(
            member=member,
            roles=roles,
            policies=policies,
            grant=grant,
            is_certain=False,
        )

    project, everywhere = grants.on_project(target), ("project_roles",)
    for accepted in _on_project(target):
        names = (f"roles/{role}" for role in (*accepted, "editor"))
        yield need(project, everywhere, *names)
    yield need(
        f"gcloud iam service-accounts add-iam-policy-binding {target.account} "
        f"--project={target.project}",
        ("account_roles", *everywhere),
        *("roles/iam.serviceAccountUser", "roles/editor"),
    )
    bucket, policies = grants.on_bucket(target.url), ("bucket_roles", *everywhere)
    yield need(bucket, policies, *grants.WRITERS)
    yield need(bucket, policies, *_METADATA)
    if target.images_bucket and not answers["images_bucket"].is_missing:
        grant = grants.on_bucket(target.images_url)
        yield need(grant, grants.policies_of_images(answers), *grants.READERS)
    if target.image:
        accepted = grants.PULLERS if target.builds_in_cloud else grants.PUSHERS
        policies = ("repository_roles", *everywhere)
        yield need(grants.on_repository(target), policies, *accepted, "roles/editor")


def _on_project(target: Target) -> Iterator[tuple[str, ...]]:
    """Yields the roles that suffice for each thing that is done in the project."""
    yield ("dataflow.developer", "dataflow.admin")
    yield ("logging.viewer", "logging.privateLogViewer", "logging.admin", "viewer")
    if target.builds_in_cloud:
        yield ("cloudbuild.builds.editor", "cloudbuild.builds.builder")
        yield ("serviceusage.serviceUsageConsumer", "serviceusage.serviceUsageAdmin")
