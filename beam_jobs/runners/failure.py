"""The reason of a failure in what a worker reports."""

from __future__ import annotations

import re


def reason(text: str) -> str:
    """Returns the message of the innermost exception in a worker's traceback."""
    lines = [line for line in text.splitlines() if line and not line[0].isspace()]
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line)]
    last = (errors or lines or ["unknown"])[-1]
    last = last.partition(" [while running")[0]
    return re.sub(r"^([\w.]*(Labeling|Writing)Error|ValueError): ", "", last)
