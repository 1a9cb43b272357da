"""How to install what is missing: the packages of an extra of this one."""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
from collections.abc import Sequence

_PACKAGE = "noisy-student-rs"
_CLONE = pathlib.Path(__file__).parent.parent
_MARKER = re.compile(r"""extra\s*==\s*['"]([\w-]+)['"]""")
_OWN_EXTRAS = re.compile(rf"{_PACKAGE}\[([\w,-]+)\]")


def install_extra(extra: str) -> str:
    """Returns the command that installs an extra, for a message.

    In a clone it takes the pinned versions. Elsewhere it names the packages: an index
    could have another package of this one's name.
    """
    requirements = _requirements(extra)
    if _is_clone() or not requirements:
        return f"pip install -c constraints.txt -e '.[{extra}]'"
    return install_packages(requirements)


def install_packages(requirements: Sequence[str]) -> str:
    """Returns the command that installs some packages, for a message."""
    pins = ["-c", "constraints.txt"] if _is_clone() else []
    quoted = (f"'{requirement}'" for requirement in requirements)
    return " ".join(["pip", "install", *pins, *quoted])


def _is_clone() -> bool:
    return (_CLONE / "constraints.txt").exists()


def _requirements(extra: str) -> list[str]:
    """Returns the requirements of an extra, and of those that it consists of."""
    try:
        declared = importlib.metadata.requires(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found: list[str] = []
    for line in declared:
        requirement, _, condition = map(str.strip, line.partition(";"))
        marker = _MARKER.search(condition)
        if marker is None or marker[1] != extra:
            continue
        if own := _OWN_EXTRAS.match(requirement):
            for name in own[1].split(","):
                found += _requirements(name)
        else:
            found.append(requirement)
    return list(dict.fromkeys(found))
