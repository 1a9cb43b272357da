"""Asks gcloud, several commands at a time."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from workflow.dataflow.findings import NO_ANSWER, NOT_UNDERSTOOD, Answer

#: Commands side by side; each takes a second of a core to start.
_PARALLEL = 8
_MAX_REASON = 300
#: gcloud must not ask, nor switch on a service to answer.
_ENVIRONMENT = {
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API": "false",
}


def is_installed() -> bool:
    """Whether there is a gcloud."""
    return shutil.which("gcloud") is not None


def ask(
    queries: Mapping[str, Sequence[str]], *, time_limit: float
) -> dict[str, Answer]:
    """Returns the answer to each command.

    time_limit: Seconds after which a command counts as failed.
    """
    with concurrent.futures.ThreadPoolExecutor(_PARALLEL) as pool:
        answers = pool.map(lambda words: _run(words, time_limit), queries.values())
        return dict(zip(queries, answers, strict=True))


def _run(words: Sequence[str], time_limit: float) -> Answer:
    process = subprocess.Popen(
        ["gcloud", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **_ENVIRONMENT},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=time_limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer(reason=f"{NO_ANSWER} within {time_limit:g} seconds")
    if process.returncode:
        return Answer(reason=_reason(errors) or f"status {process.returncode}")
    try:
        return Answer(json.loads(output) if output.strip() else None)
    except (ValueError, RecursionError):
        return Answer(reason=f"{NOT_UNDERSTOOD}: expected JSON")


def _reason(errors: str) -> str:
    """Returns what gcloud said, in one line and without the command's name."""
    _, found, text = errors.partition("ERROR: ")
    words = " ".join((text if found else errors).split()).removesuffix(".")
    return re.sub(r"^\(gcloud[\w.-]*\) ", "", words)[:_MAX_REASON]
