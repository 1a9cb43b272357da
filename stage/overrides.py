"""Checked configurations: field values, and overriding them by path."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import json
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, get_type_hints

ConfigT = TypeVar("ConfigT")
#: More known names than this are not listed where one is not known.
LISTED_NAMES = 16


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Returns the message for an unknown name, with the nearest of those known."""
    names = {known_name.lower(): known_name for known_name in known}
    nearest = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.0)
    message = f"unknown {what} {name!r}; nearest is {names[nearest[0]]!r}"
    if len(names) > LISTED_NAMES:
        return message
    return f"{message}, of {', '.join(names.values())}"


def to_json(config: Any) -> str:
    """Returns a config as indented JSON, keys in the order of the fields."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def paths_of(assignments: Iterable[str]) -> frozenset[str]:
    """Returns which settings assignments such as "augment.magnitude=15" make."""
    return frozenset(assignment.partition("=")[0] for assignment in assignments)


def override_all(config: ConfigT, assignments: Iterable[str]) -> ConfigT:
    """Returns `config` with several fields replaced together, see `override`.

    All are set before any is checked against another, so their order is free.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"expected 'field=value', got {assignment!r}")
        *parents, leaf = path.split(".")
        branch = changes
        for parent in parents:
            branch = branch.setdefault(parent, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{path} is set inside another --set")
        branch[leaf] = text
    return _replace(config, changes, prefix="")


def override(config: ConfigT, assignment: str) -> ConfigT:
    """Returns `config` with one field replaced, as in "augment.magnitude=15".

    Raises:
        ValueError: If there is no such field, or the value does not fit it.
    """
    return override_all(config, [assignment])


def _replace(config: ConfigT, changes: dict[str, Any], *, prefix: str) -> ConfigT:
    types = get_type_hints(type(config))
    values = {}
    for name, change in changes.items():
        if name not in types:
            raise ValueError(unknown("setting", prefix + name, _paths(config, prefix)))
        old = getattr(config, name)
        path = prefix + name
        if isinstance(change, dict):
            if not dataclasses.is_dataclass(old):
                raise ValueError(f"{path} is a value, it has no fields")
            values[name] = _replace(old, change, prefix=path + ".")
        else:
            values[name] = _parse(path, change, old, types[name])
    return dataclasses.replace(config, **values)  # type: ignore[type-var]


def _paths(config: Any, prefix: str) -> list[str]:
    paths = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        path = prefix + field.name
        paths += _paths(value, path + ".") if _is_config(value) else [path]
    return paths


def _is_config(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _parse(path: str, text: str, old: Any, hint: Any) -> Any:
    if _is_config(old):
        raise ValueError(f"{path} is a group of settings; set one of {_paths(old, '')}")
    if getattr(hint, "__origin__", None) is Literal:
        if text not in hint.__args__:
            raise ValueError(unknown(path, text, hint.__args__))
        return text
    if isinstance(old, str):
        return text
    if isinstance(old, tuple):
        return tuple(name for name in text.split(",") if name)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(old, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(old):
        raise ValueError(f"{path} is of type {type(old).__name__}, got {text!r}")
    return value
