"""The block of metadata at the top of a card, as the Hugging Face Hub reads it.

A card with it is still Markdown, and the hub lists the artifact by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from stage.licenses import UNKNOWN, Ledger
from stage.text import printable

#: The hub's identifiers of licenses that images and weights usually have.
LICENSES = frozenset(
    {
        *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0"),
        *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"),
        *("cc-by-sa-4.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0"),
        *("cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
        *("odbl", "odc-by", "pddl", "unlicense", "openrail"),
    }
)
#: Name of what has several licenses, or one that the hub does not know.
_SEVERAL = "as-listed-in-the-card"
_REPOSITORY = re.compile(r"hf:([\w.-]+/[\w.-]+)")


def front_matter(values: Mapping[str, Any]) -> str:
    """Returns a card's first lines, with the values that are not empty.

    Each value is JSON, which is YAML: text from outside stays text.
    """
    lines = [
        f"{name}: {json.dumps(_printable(value), ensure_ascii=False)}\n"
        for name, value in values.items()
        if value
    ]
    return f"---\n{''.join(lines)}---\n\n"


def license_fields(ledger: Ledger | None) -> dict[str, str]:
    """Returns the fields that state the license of what has this ledger.

    It is the one of all origins; where they have several, the card lists them.
    """
    found = {origin.license for origin in ledger or ()}
    if not found or UNKNOWN in found:
        return {"license": "unknown"}
    (first, *others) = found
    if not others and first.lower() in LICENSES:
        return {"license": first.lower()}
    return {"license": "other", "license_name": _SEVERAL}


def repositories(ledger: Ledger | None, kind: str) -> list[str]:
    """Returns the hub's repositories, `OWNER/NAME`, of the origins of a kind."""
    origins = (origin.name for origin in ledger or () if origin.kind == kind)
    found = (_REPOSITORY.match(name) for name in origins)
    return sorted({match[1] for match in found if match})


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {name: _printable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_printable, value))
    return value
