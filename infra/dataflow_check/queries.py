"""The commands of gcloud that tell what a project has. All of them only read."""

from __future__ import annotations

from infra.dataflow_check.target import NAME, Target

_JSON = "--format=json"
#: Those of a login, without which gcloud answers nothing else.
LOGIN = {
    "account": ("auth", "list", "--filter=status:ACTIVE", _JSON),
    # The token must not be seen: gcloud prints nothing.
    "application_login": (
        *("auth", "application-default", "print-access-token"),
        "--format=none",
    ),
}


def for_job(target: Target) -> dict[str, tuple[str, ...]]:
    """Returns all commands by what they ask for, without the word gcloud."""
    return {
        **LOGIN,
        **_project(target),
        **_machines(target),
        **_container(target),
    }


def for_image(image: str) -> dict[str, tuple[str, ...]]:
    """Returns the commands that tell whether a container is there."""
    return {
        **LOGIN,
        "image": ("artifacts", "docker", "images", "describe", image, _JSON),
    }


def _project(target: Target) -> dict[str, tuple[str, ...]]:
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


def _machines(target: Target) -> dict[str, tuple[str, ...]]:
    project = f"--project={target.project}"
    region = (target.region, project, "--format=json(quotas)")
    kinds = {"machine_types": target.pool.machine}
    if target.pool.accelerator:
        kinds["accelerator_types"] = target.pool.accelerator
    return {
        "region": ("compute", "regions", "describe", *region),
        "all_regions": ("compute", "project-info", "describe", *region[1:]),
        **{
            kind: (
                *("compute", kind.replace("_", "-"), "list", project),
                f"--filter=name={name}",
                _JSON,
            )
            for kind, name in kinds.items()
        },
    }


def _container(target: Target) -> dict[str, tuple[str, ...]]:
    if target.image is None:
        return {}
    project = f"--project={target.project}"
    repository = (NAME, f"--location={target.region}", project, _JSON)
    found = {
        **for_image(target.image),
        "repository": ("artifacts", "repositories", "describe", *repository),
        "repository_roles": (
            *("artifacts", "repositories", "get-iam-policy"),
            *repository,
        ),
    }
    if target.builds_in_cloud:
        found["builder"] = ("builds", "get-default-service-account", project, _JSON)
    return found
