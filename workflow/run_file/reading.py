"""Run files: TOML in, the settings of a run out, and back."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_type_hints

import tomli_w

from stage import artifact, typed_json
from stage.flags import SOURCE_KINDS
from stage.overrides import unknown
from workflow.run_file.config import RunConfig

#: Name of a run file; that in the directory of a run has its latest settings.
RUN_FILE = "run.toml"
#: Settings that are paths, and those that are sources of images.
_PATHS = ("output", "data.class_names", "data.data_dir")
_SOURCES = ("data.labeled", "data.evaluation", "data.unlabeled", "data.calibration")


def read_run(
    path: str | None, assignments: Iterable[str] = (), *, output: str = ""
) -> RunConfig:
    """Returns the settings of a run file with some of them replaced.

    Args:
        path: Run file, or the directory that has it; None for the one in `output`, if
            there is one.
        assignments: Settings that win, such as `teacher.preset=tiny`.
        output: Directory of the run, instead of the one in the file.

    Returns:
        The settings. Relative paths of the file are resolved from its directory, those
        of the assignments from the working directory.

    Raises:
        ValueError: If the file is no TOML, or it or an assignment has an unknown
            setting or a wrong value.
        OSError: If the file cannot be read.
    """
    found = _find(path, output)
    tables = _read_tables(found) if found else {}
    _resolve(tables, os.path.dirname(found or ""))
    given: dict[str, Any] = {}
    for assignment in assignments:
        _assign(given, assignment)
    if output:
        given["output"] = output
    _resolve(given, "")
    _merge(tables, given)
    if not found and "output" not in tables:
        raise ValueError("expected a run file or --output=, the directory of a run")
    return _convert(tables, found or "--set")


def _find(path: str | None, output: str) -> str | None:
    """Returns the path of the run file; None without one."""
    if path is None:
        inside = os.path.join(output, RUN_FILE)
        return inside if output and os.path.exists(inside) else None
    if not os.path.isdir(path):
        return path
    inside = os.path.join(path, RUN_FILE)
    if not os.path.exists(inside):
        raise FileNotFoundError(
            f"{path}: no {RUN_FILE} in it; `noisy-student init {path}` writes one"
        )
    return inside


def _read_tables(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(typed_json.read_bytes(path).decode())
    except ValueError as error:
        message = typed_json.error_message(error)
        raise ValueError(f"{path}: expected TOML: {message}") from error


def _assign(tables: dict[str, Any], assignment: str) -> None:
    """Adds `section.setting=VALUE`, whose value is TOML or else a string."""
    path, separator, text = assignment.partition("=")
    if not separator:
        raise ValueError(f"expected --set=SETTING=VALUE, got --set={assignment}")
    value: Any = text
    with contextlib.suppress(ValueError):
        value = tomllib.loads(f"value = {text}")["value"]
    *parents, leaf = path.split(".")
    for parent in parents:
        tables = tables.setdefault(parent, {})
        if not isinstance(tables, dict):
            raise ValueError(f"--set={path}= is inside a setting that has a value")
    tables[leaf] = value


def _merge(tables: dict[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(tables.get(name), dict):
            _merge(tables[name], value)
        else:
            tables[name] = value


def _resolve(tables: dict[str, Any], start: str) -> None:
    """Replaces relative paths by those from the working directory."""
    for name in (*_PATHS, *_SOURCES, "data.exclude"):
        *parents, leaf = name.split(".")
        table: Any = functools.reduce(
            lambda inner, parent: _table(inner, parent), parents, tables
        )
        value = table.get(leaf)
        change: Callable[[str, str], str] = (
            resolve_path if name in _PATHS else resolve_source
        )
        if isinstance(value, str) and value:
            table[leaf] = change(value, start)
        elif isinstance(value, list):
            table[leaf] = [change(v, start) if isinstance(v, str) else v for v in value]


def _table(tables: Any, name: str) -> dict[str, Any]:
    inner = tables.get(name)
    return inner if isinstance(inner, dict) else {}


def resolve_path(path: str, start: str) -> str:
    """Returns a path that is relative to `start` as one from the working directory."""
    if "://" in path or os.path.isabs(path):
        return path
    return os.path.normpath(os.path.join(start, path))


def resolve_source(spec: str, start: str) -> str:
    """Returns a source whose path is resolved, see `resolve_path`.

    The name of a TFDS dataset is no path unless there is such a directory.
    """
    kind, separator, rest = spec.partition(":")
    if not separator or kind not in SOURCE_KINDS:
        return resolve_path(spec, start)
    if kind == "hf":
        return spec
    if kind == "tfds":
        name, _, split = rest.rpartition(":")
        if not os.path.isdir(resolve_path(name, start)):
            return spec
        return f"tfds:{resolve_path(name, start)}:{split}"
    return f"{kind}:{resolve_path(rest, start)}"


def _convert(tables: dict[str, Any], name: str) -> RunConfig:
    try:
        _check_known(tables, RunConfig, "")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return typed_json.convert(tables, RunConfig, name)


def _check_known(tables: Mapping[str, Any], kind: Any, prefix: str) -> None:
    """Raises ValueError for an unknown setting, with the nearest known one."""
    hints = get_type_hints(kind)
    for name, value in tables.items():
        if name not in hints:
            known = [prefix + field.name for field in dataclasses.fields(kind)]
            raise ValueError(unknown("setting", prefix + name, known))
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, dict):
            _check_known(value, hints[name], f"{prefix}{name}.")


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields settings of a recipe as assignments for `--set`."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from flat_settings(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}={','.join(map(str, value))}"
        else:
            yield f"{prefix}{name}={value}"


def to_toml(config: RunConfig, *, start: str) -> str:
    """Returns the settings that differ from the defaults as a run file.

    Paths inside the directory `start` are written relative to it, others absolute, so
    that the file may be moved with its directory.
    """
    tables = _differing(config, RunConfig())
    tables["output"] = config.output
    for name in (*_PATHS, *_SOURCES, "data.exclude"):
        *parents, leaf = name.split(".")
        table = functools.reduce(_table, parents, tables)
        value = table.get(leaf)
        if isinstance(value, str) and value:
            table[leaf] = _portable(value, start, is_source=name not in _PATHS)
        elif isinstance(value, tuple):
            table[leaf] = tuple(_portable(v, start, is_source=True) for v in value)
    return tomli_w.dumps(tables)


def _differing(config: Any, default: Any) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(config):
        value, usual = getattr(config, field.name), getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            if inner := _differing(value, usual):
                found[field.name] = inner
        elif value != usual:
            found[field.name] = value
    return found


def _portable(text: str, start: str, *, is_source: bool) -> str:
    kind, separator, rest = text.partition(":")
    if is_source and separator and kind in SOURCE_KINDS:
        is_name = kind == "tfds" and not os.path.isdir(rest.rpartition(":")[0])
        if kind == "hf" or is_name:
            return text
        return f"{kind}:{_portable(rest, start, is_source=False)}"
    if "://" in text:
        return text
    path, root = os.path.abspath(text), os.path.abspath(start)
    is_inside = path == root or path.startswith(root.rstrip("/") + "/")
    return os.path.relpath(path, root) if is_inside else path


def write_run(config: RunConfig) -> None:
    """Writes the settings into the directory of the run, unless they are there."""
    path = os.path.join(config.output, RUN_FILE)
    content = to_toml(config, start=config.output).encode()
    if os.path.exists(path) and typed_json.read_bytes(path) == content:
        return
    os.makedirs(config.output, exist_ok=True)
    artifact.write_bytes(path, content)
