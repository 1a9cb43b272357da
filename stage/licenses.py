"""The ledger of licenses: which weights and images an artifact was made of.

`licenses.json` lists them, each with its license where somebody has stated one, and is
carried from artifact to artifact. It describes, and decides nothing: no fingerprint
depends on it, and the same command, started again, writes it anew. What only decides a
temperature, a threshold, an exclusion or an accuracy is not listed.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from etils import epath

from stage import artifact, typed_json
from stage.text import printable

UNKNOWN = "unknown"
#: Most characters of a license: an SPDX expression, or a name in words.
MAX_LICENSE = 200
#: Most characters of a name.
_MAX_NAME = 1000
#: Parts of an absolute path that are shown; the others may name a user or a machine.
_SHOWN_PARTS = 2
_OUTSIDE = re.compile(r"((?:[^/]*:)?)((?:\.\.)?/.*)", re.DOTALL)

License = Annotated[
    str,
    typed_json.Condition(
        lambda s: 0 < len(s) <= MAX_LICENSE,
        f"a license of 1 to {MAX_LICENSE} characters",
    ),
]
Name = Annotated[
    str,
    typed_json.Condition(
        lambda s: len(s) <= _MAX_NAME, f"a name of at most {_MAX_NAME:,} characters"
    ),
]


@dataclasses.dataclass(frozen=True, order=True, kw_only=True)
class Origin:
    """Weights or images that an artifact was made of.

    Attributes:
        kind: `artifact` is one of an earlier version, which does not list its own.
        name: Source as it was given, see `public_name`.
        revision: Version of published weights, such as a commit; "" if there is none.
        fingerprint: SHA-256 of a file of weights, of the tensors of several files, or
            of names and order of the images; "" if unknown.
        license: SPDX expression or words; `UNKNOWN` if nobody has stated one.
        stated_by: `user`, or `publisher` if it came with the weights or images or is in
            their documentation; "" for nobody.
    """

    kind: Literal["artifact", "images", "weights"]
    name: Name
    revision: Name = ""
    fingerprint: Name = ""
    license: License = UNKNOWN
    stated_by: Literal["", "publisher", "user"] = ""


#: Origins in ascending order, each once.
Ledger: TypeAlias = tuple[Origin, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LedgerFile:
    """The content of `licenses.json`."""

    origins: Ledger


def merge(*ledgers: Iterable[Origin]) -> Ledger:
    """Returns the origins of all ledgers, those of unknown license only if none knows.

    Licenses that contradict each other are all kept.
    """
    found = {origin for ledger in ledgers for origin in ledger}
    known = {_identity(origin) for origin in found if origin.license != UNKNOWN}
    return tuple(
        sorted(
            origin
            for origin in found
            if origin.license != UNKNOWN or _identity(origin) not in known
        )
    )


def _identity(origin: Origin) -> Origin:
    return dataclasses.replace(origin, license=UNKNOWN, stated_by="")


def state(origin: Origin, license: str | None) -> Origin:
    """Returns an origin with the license that the user gave; None for none."""
    if license is None:
        return origin
    return dataclasses.replace(origin, license=license, stated_by="user")


def state_published(origin: Origin, license: str) -> Origin:
    """Returns an origin with the license that its publisher states; "" for none."""
    line = typed_json.shorten(printable(" ".join(license.split())), MAX_LICENSE)
    if not line:
        return origin
    return dataclasses.replace(origin, license=line, stated_by="publisher")


def trace(
    spec: str, published: Mapping[str, Any], license: str | None = None
) -> Ledger:
    """Returns what weights or features were made of.

    Args:
        spec: Published weights as the user named them, or the directory of an artifact,
            whose ledger is returned.
        published: Description of published weights: `sha256`, `file`, `revision` and
            `license`, where known.
        license: License that the user stated, if any.

    Raises:
        ValueError: If a license is stated for an artifact, or its ledger is broken.
    """
    directory = epath.Path(spec)
    if (directory / artifact.CONFIG).exists():
        if license is not None:
            raise ValueError(
                f"--license: {spec} is no published file; {artifact.LICENSES} in it "
                "lists what it was made of, by a command that takes their licenses"
            )
        return read(directory)
    name, file = public_name(spec), published.get("file", "")
    origin = Origin(
        kind="weights",
        name=name if file in name else f"{name} ({file})",
        revision=published.get("revision", ""),
        fingerprint=published.get("sha256", ""),
    )
    stated = state_published(origin, published.get("license", ""))
    return (state(stated, license),)


def describe(published: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a description of published weights for `config.json`, without license.

    A license may be found later, and then the command is still the same.
    """
    return {name: value for name, value in published.items() if name != "license"}


def read(directory: epath.PathLike) -> Ledger:
    """Returns the ledger of an artifact; of an earlier version, the artifact itself.

    Raises ValueError if the ledger is broken.
    """
    found = read_if_any(directory)
    if found is None:
        return (Origin(kind="artifact", name=public_name(os.fspath(directory))),)
    return found


def read_if_any(directory: epath.PathLike) -> Ledger | None:
    """Returns the ledger of an artifact, None of an earlier version's, as `read`."""
    path = epath.Path(directory) / artifact.LICENSES
    return merge(typed_json.read(path, _LedgerFile).origins) if path.exists() else None


def inherit(directories: Iterable[epath.PathLike]) -> Ledger:
    """Returns the ledger of what is made of several artifacts."""
    return merge(*map(read, directories))


def write(directory: epath.PathLike, ledger: Ledger) -> None:
    """Writes the ledger of an artifact; what it knew before stays if `ledger` does not.

    So the command need not state a license again, and a file edited by hand is kept.
    """
    before = read_if_any(directory)
    unknown = {origin for origin in ledger if origin.license == UNKNOWN}
    kept = [origin for origin in before or () if _identity(origin) in unknown]
    ledger = merge(ledger, kept)
    if before != ledger:
        content = {"origins": [dataclasses.asdict(origin) for origin in ledger]}
        artifact.write_json(epath.Path(directory) / artifact.LICENSES, content)


def parse(license: Iterable[str], **sources: object) -> dict[str, str]:
    """Returns the license that the user gave for each flag, without the others.

    Args:
        license: Values of `--license`, as `images=CC-BY-4.0`.
        sources: Values of the flags that may be named; None if not given.

    Raises:
        ValueError: If one names no flag with a value, a flag twice, or no license.
    """
    given = [name for name, value in sources.items() if value]
    found: dict[str, str] = {}
    for assignment in license:
        name, separator, stated = assignment.partition("=")
        if not separator or name not in given:
            raise ValueError(
                "--license: expected FLAG=LICENSE of a source given to this command, "
                f"one of {_list(given)}, got {typed_json.shorten(assignment)!r}"
            )
        if not _is_line(stated):
            raise ValueError(
                f"--license={name}=: expected a license of 1 to {MAX_LICENSE} "
                f"characters in one line, got {typed_json.shorten(stated)!r}"
            )
        if name in found:
            raise ValueError(
                f"--license={name}=: expected one license, such as "
                "'MIT AND CC-BY-4.0', got two"
            )
        found[name] = stated
    return found


def _list(names: Collection[str]) -> str:
    return ", ".join(f"{name}=" for name in names) or "none"


def _is_line(license: str) -> bool:
    is_shown = license == printable(license).strip()
    return is_shown and 0 < len(license) <= MAX_LICENSE


def public_name(spec: str) -> str:
    """Returns a source, or a path, without what only this machine's users may know.

    A local path that is absolute or begins with ".." is made relative to the working
    directory; one outside of it keeps its last two names.
    """
    match = _OUTSIDE.fullmatch(spec)
    if match is None or re.match("//[^/]", match[2]):  # Inside, or of a file system.
        return typed_json.shorten(spec, _MAX_NAME)
    prefix, path = match.groups()
    if not path.startswith("/"):
        path = os.path.normpath(os.path.join(os.getcwd(), path))
    inside = path.removeprefix(os.getcwd().rstrip("/") + "/")
    if inside == path:
        names = path.removeprefix(os.path.expanduser("~")).split("/")
        inside = "/".join(["...", *list(filter(None, names))[-_SHOWN_PARTS:]])
    return typed_json.shorten(prefix + inside, _MAX_NAME)
