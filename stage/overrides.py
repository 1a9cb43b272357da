"""Overriding single fields of nested config dataclasses: `augment.magnitude=15`."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import math
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

ConfigT = TypeVar("ConfigT")

#: Former paths of settings, and the present ones.
RENAMED = {"precision": "dtype"}
#: Where to find the settings.
LISTED = "`python -m classifier.summary --preset=tiny --settings` lists them"
#: Integers are of 64 bits.
_LIMIT = 2**63
#: Largest number of known names to list beside an unknown one.
_MAX_LISTED = 16


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Returns the message for an unknown name; it suggests a similar known one."""
    names = {known_name.lower(): known_name for known_name in known}
    similar = difflib.get_close_matches(name.lower(), names, n=1)
    nearest = f"; nearest is {names[similar[0]]!r}" if similar else ""
    message = f"unknown {what} {name!r}{nearest}"
    if similar and len(names) > _MAX_LISTED:
        return message
    return (
        f"{message}{', of' if similar else '; there are'} {', '.join(names.values())}"
    )


def paths_of(assignments: Iterable[str]) -> frozenset[str]:
    """Returns the paths that are assigned, as "augment.magnitude"."""
    return frozenset(assignment.partition("=")[0] for assignment in assignments)


def override_all(config: ConfigT, assignments: Iterable[str]) -> ConfigT:
    """Returns `config` with fields replaced, as in "augment.magnitude=15".

    All fields are replaced before the config is validated, so their order is free.
    Raises ValueError if a field does not exist or its value does not fit.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(
                f"expected --set=SETTING=VALUE, got --set={assignment}; {LISTED}"
            )
        *parents, leaf = path.split(".")
        branch = changes
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise ValueError(
                    f"--set={path}= is inside {parent}, which another --set assigns; "
                    f"leave out --set={parent}="
                )
        branch[leaf] = text
    return _replace(config, changes, prefix="")


def _replace(config: ConfigT, changes: dict[str, Any], *, prefix: str) -> ConfigT:
    types = get_type_hints(type(config))
    values = {}
    for name, change in changes.items():
        path = prefix + name
        if name not in types and path in RENAMED:
            raise ValueError(f"{path} was renamed: use --set={RENAMED[path]}=")
        if name not in types:
            raise ValueError(unknown("setting", path, _paths(config, prefix)))
        old = getattr(config, name)
        if isinstance(change, dict):
            if not dataclasses.is_dataclass(old):
                raise ValueError(f"{path} is one setting: expected --set={path}=VALUE")
            values[name] = _replace(old, change, prefix=path + ".")
        else:
            values[name] = _parse(path, change, old, types[name])
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def _paths(config: Any, prefix: str) -> list[str]:
    paths = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        path = prefix + field.name
        is_group = dataclasses.is_dataclass(value)
        paths += _paths(value, path + ".") if is_group else [path]
    return paths


def _parse(path: str, text: str, old: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(old):
        raise ValueError(
            f"{path} is a group of settings; "
            f"set one of {', '.join(_paths(old, path + '.'))}"
        )
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise ValueError(unknown(path, text, get_args(hint)))
        return text
    if isinstance(old, str):
        return text
    if isinstance(old, tuple):
        parts = tuple(part for part in text.split(",") if part)
        kind = get_args(hint)[0]
        return parts if kind is str else tuple(_number(path, p, kind) for p in parts)
    return _number(path, text, type(old))


def _number(path: str, text: str, kind: type) -> Any:
    """Returns a number or Boolean; a whole number is a float as well."""
    value: Any = text
    with contextlib.suppress(ValueError, SyntaxError):
        value = ast.literal_eval(text)
    if kind is float and type(value) is int:
        value = float(value)
    limit = _LIMIT if kind is int else math.inf
    is_beyond = isinstance(value, int | float) and not -limit < value < limit
    if type(value) is not kind or is_beyond:
        raise ValueError(f"expected {path} of type {kind.__name__}, got {text!r}")
    return value
