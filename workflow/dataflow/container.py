"""The container repository, and the container."""

from __future__ import annotations

from collections.abc import Iterator

from workflow.dataflow.findings import Answers, Finding, unseen
from workflow.dataflow.target import NAME, Target


def container(target: Target, answers: Answers) -> Iterator[Finding]:
    """Looks for the repository and for the container of this code."""
    if target.image is None:
        yield Finding("?", "container", "runner.dataflow.image is not looked at")
        return
    found = answers["repository"]
    subject = "container repository"
    if found.is_missing:
        command = (
            f"gcloud artifacts repositories create {NAME} --repository-format=docker "
            f"--location={target.region} --project={target.project}"
        )
        yield Finding("FAIL", subject, f"no {NAME} in {target.region}", command)
    elif found.reason:
        yield unseen(subject, found)
    else:
        yield Finding("ok", subject, f"{NAME} in {target.region}")
    yield image(target, answers)


def image(target: Target, answers: Answers) -> Finding:
    """Looks for the container alone."""
    found = answers["image"]
    if found.is_missing:
        command = f"make container PROJECT={target.project} REGION={target.region}"
        command = f"{command} BUCKET={target.bucket}"
        if target.pool.accelerator:
            command = f"{command} ACCELERATOR={target.pool.accelerator}"
        return Finding("FAIL", "container", f"no {target.image}", command)
    if found.reason:
        detail = f"cannot see {target.image}: {found.reason}"
        setting = f"runner.dataflow.image={target.image}"
        return Finding("?", "container", detail, f"{setting} if it is there")
    return Finding("ok", "container", str(target.image))
