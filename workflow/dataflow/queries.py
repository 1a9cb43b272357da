"""The commands of gcloud that tell what a project has. All of them only read."""

from __future__ import annotations

from typing import TypeAlias

from workflow.dataflow.target import NAME, Target

_JSON = "--format=json"
#: Commands by what they ask for, without the word gcloud.
Queries: TypeAlias = dict[str, tuple[str, ...]]


def for_access(target: Target) -> Queries:
    """Returns the commands of what all else depends on: login and region."""
    return {
        "account": ("auth", "list", "--filter=status:ACTIVE", _JSON),
        # The token must not be seen: gcloud prints nothing.
        "application_login": (
            *("auth", "application-default", "print-access-token"),
            "--format=none",
        ),
        "regions": (
            *("compute", "regions", "list", f"--project={target.project}"),
            "--format=json(name)",
        ),
    }


def for_training(target: Target) -> Queries:
    """Returns the commands of what is looked at before a teacher is trained."""
    return {**_image(target), **_kinds(target)}


def for_job(target: Target) -> Queries:
    """Returns the commands of all but `for_access`."""
    return {
        **_project(target),
        **_images(target),
        **_quotas(target),
        **_kinds(target),
        **_container(target),
    }


def _project(target: Target) -> Queries:
    project = f"--project={target.project}"
    account = (target.account, project, _JSON)
    found = {
        "project": ("projects", "describe", target.project, _JSON),
        "billing": ("billing", "projects", "describe", target.project, _JSON),
        "services": (
            *("services", "list", "--enabled", project),
            "--format=json(config.name)",
        ),
        "bucket": ("storage", "buckets", "describe", target.url, "--raw", _JSON),
        "account_there": ("iam", "service-accounts", "describe", *account),
        "project_roles": ("projects", "get-iam-policy", target.project, _JSON),
        "bucket_roles": ("storage", "buckets", "get-iam-policy", target.url, _JSON),
        "account_roles": ("iam", "service-accounts", "get-iam-policy", *account),
    }
    if target.subnet is not None:
        found["subnet"] = (
            *("compute", "networks", "subnets", "describe", target.subnet.name),
            f"--region={target.subnet.region}",
            f"--project={target.subnet.project}",
            _JSON,
        )
    return found


def _images(target: Target) -> Queries:
    if target.images_bucket is None:
        return {}
    buckets, url = ("storage", "buckets"), target.images_url
    return {
        "images_bucket": (*buckets, "describe", url, "--raw", _JSON),
        "images_roles": (*buckets, "get-iam-policy", url, _JSON),
    }


def _quotas(target: Target) -> Queries:
    region = (target.region, f"--project={target.project}", "--format=json(quotas)")
    return {
        "region": ("compute", "regions", "describe", *region),
        "all_regions": ("compute", "project-info", "describe", *region[1:]),
    }


def _kinds(target: Target) -> Queries:
    """Returns the commands of the workers' machines, and of their accelerators."""
    kinds = {"machine_types": target.pool.machine}
    if target.pool.accelerator:
        kinds["accelerator_types"] = target.pool.accelerator
    return {
        kind: (
            *("compute", kind.replace("_", "-"), "list"),
            f"--project={target.project}",
            f"--filter=name={name}",
            _JSON,
        )
        for kind, name in kinds.items()
    }


def _image(target: Target) -> Queries:
    if target.image is None:
        return {}
    return {"image": ("artifacts", "docker", "images", "describe", target.image, _JSON)}


def _container(target: Target) -> Queries:
    if target.image is None:
        return {}
    project = f"--project={target.project}"
    repository = (NAME, f"--location={target.region}", project, _JSON)
    found = {
        **_image(target),
        "repository": ("artifacts", "repositories", "describe", *repository),
        "repository_roles": (
            *("artifacts", "repositories", "get-iam-policy"),
            *repository,
        ),
    }
    if target.builds_in_cloud:
        found["builder"] = ("builds", "get-default-service-account", project, _JSON)
    return found
