"""Copying a stage's directories to and from where its workers see them."""

from __future__ import annotations

from workflow.chain.stage import Kind, Stage


def commands(stage: Stage, run: str, shared: str) -> list[list[str]]:
    """Returns the arguments of Python for each command that makes a stage.

    If its workers are elsewhere, what it reads is copied there before, and its
    directory here afterwards.
    """
    command = stage.command(run, shared)
    if not stage.is_shared:
        return [command]
    inputs = [a.value for a in stage.resolve(run) if a.kind is Kind.STAGE]
    uploads = [_copy(f"{run}/{name}", f"{shared}/{name}") for name in inputs]
    return [*uploads, command, _copy(f"{shared}/{stage.name}", f"{run}/{stage.name}")]


def deletion(stage: Stage, shared: str) -> list[list[str]]:
    """Returns the command that deletes what workers elsewhere have made, if they do."""
    if not stage.is_shared:
        return []
    return [["-m", "workflow.copy_artifact", f"--delete={shared}/{stage.name}"]]


def _copy(source: str, target: str) -> list[str]:
    return ["-m", "workflow.copy_artifact", f"--source={source}", f"--output={target}"]
