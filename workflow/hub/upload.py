"""Uploading packages with huggingface_hub, which the extra [hub] installs."""

from __future__ import annotations

import re
from typing import Any

from stage.cli import Log
from stage.hub_client import REPOSITORY, import_hub
from stage.typed_json import error_message
from workflow.hub.files import Package


def check_repository(repository: str) -> None:
    """Raises ValueError unless a name is OWNER/NAME."""
    if re.fullmatch(REPOSITORY, repository, re.ASCII) is None:
        raise ValueError(f"--repository: expected OWNER/NAME, got {repository!r}")


def log_in() -> Any:
    """Returns huggingface_hub's client; ValueError if it or a login is missing."""
    hub = import_hub("pushing")
    hub.utils.disable_progress_bars()
    if hub.get_token() is None:
        raise ValueError(
            "not logged in to the hub; run `hf auth login`, or set HF_TOKEN= to a "
            "token that may write"
        )
    return hub.HfApi()


def upload(api: Any, package: Package, *, private: bool, log: Log) -> None:
    """Makes a repository unless it is there, and writes all files in one commit.

    Files that are in the repository and not in the package stay there.

    Raises:
        OSError: If the hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd

    operations = [
        CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.source)
        for file in package.files
    ]
    where = {"repo_id": package.repository, "repo_type": package.kind}
    try:
        api.create_repo(**where, private=private, exist_ok=True)
        commit = api.create_commit(
            **where,
            operations=operations,
            commit_message="Upload by Noisy Student RS",
        )
    except Exception as error:  # Of the hub, of HTTP, of the file system.
        raise OSError(
            f"{package.kind} repository {package.repository}: {error_message(error)}"
        ) from error
    log(f"{package.kind} repository {package.repository}: {commit.commit_url}")
