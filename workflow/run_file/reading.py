"""Run files: TOML in, the settings of a run out, and back."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import glob
import os
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, get_type_hints

import tomli_w

from stage import artifact, typed_json
from stage.flags import SOURCE_KINDS, split_dataset
from stage.overrides import unknown
from stage.setting_paths import flatten
from workflow.run_file.config import RunConfig

#: Name of a run file; that in the directory of a run has its latest settings.
RUN_FILE = "run.toml"
#: Forms of sources whose rest is no path, and those that are patterns.
_NAMES = ("hf",)
_PATTERNS = ("tfrecord", "webdataset", "parquet")
#: Forms of features that name a file or a directory.
_FEATURES = (
    *("onnx", "saved_model", "safetensors", "resnet_rs_h5", "keras_h5"),
    "predictions",
)


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
    tables = {"output": RunConfig.output, **_read_tables(found)} if found else {}
    _change_paths(tables, lambda text, kind: resolve(text, _directory(found), kind))
    given: dict[str, Any] = {}
    for assignment in assignments:
        _assign(given, assignment)
    if output:
        given["output"] = output
    _change_paths(given, lambda text, kind: resolve(text, "", kind))
    _merge(tables, given)
    if not found and "output" not in tables:
        raise ValueError("expected a run file, or --output=, the directory of a run")
    name = found or "--set"
    try:
        _check_known(tables, RunConfig, "")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return typed_json.convert(tables, RunConfig, name)


def _find(path: str | None, output: str) -> str | None:
    """Returns the path of the run file; None without one."""
    if path is None:
        inside = os.path.join(output, RUN_FILE)
        return inside if output and os.path.exists(inside) else None
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"no run file {path!r}; `noisy-student init FOLDER` writes one"
            )
        return path
    inside = os.path.join(path, RUN_FILE)
    if not os.path.exists(inside):
        raise FileNotFoundError(
            f"{path}: no {RUN_FILE} in it; `noisy-student init {shlex.quote(path)}` "
            "writes one"
        )
    return inside


def _directory(path: str | None) -> str:
    return os.path.dirname(path or "")


def _read_tables(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(typed_json.read_bytes(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        message = typed_json.error_message(error)
        raise ValueError(f"{path}: expected TOML: {message}") from error


def _assign(tables: dict[str, Any], assignment: str) -> None:
    """Adds `section.setting=VALUE`, whose value is TOML or else a string.

    A folder may be called 2024.
    """
    path, separator, text = assignment.partition("=")
    if not separator:
        raise ValueError(f"expected --set=SETTING=VALUE, got --set={assignment}")
    value: Any = text
    with contextlib.suppress(ValueError):
        value = tomllib.loads(f"value = {text}")["value"]
    if _kind_of(path) is str and not isinstance(value, str):
        value = text
    *parents, leaf = path.split(".")
    for parent in parents:
        tables = tables.setdefault(parent, {})
        if not isinstance(tables, dict):
            raise ValueError(f"--set={path}= is inside a setting that has a value")
    tables[leaf] = value


def _kind_of(path: str) -> Any:
    """Returns the type of a setting; None for one of a recipe, or an unknown one."""
    kind: Any = RunConfig
    for name in path.split("."):
        kind = (
            get_type_hints(kind).get(name) if dataclasses.is_dataclass(kind) else None
        )
    return kind


def _merge(tables: dict[str, Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(tables.get(name), dict):
            _merge(tables[name], value)
        else:
            tables[name] = value


class PathKind(enum.Enum):
    """What a setting that may have a path is."""

    PATH = enum.auto()
    SOURCE = enum.auto()
    FEATURES = enum.auto()


#: Settings that have paths.
_PATHS = {
    "output": PathKind.PATH,
    "data.class_names": PathKind.PATH,
    "data.data_dir": PathKind.PATH,
    "data.labeled": PathKind.SOURCE,
    "data.evaluation": PathKind.SOURCE,
    "data.unlabeled": PathKind.SOURCE,
    "data.calibration": PathKind.SOURCE,
    "data.exclude": PathKind.SOURCE,
    "teacher.features": PathKind.FEATURES,
    "runner.prism": PathKind.PATH,
}


def _change_paths(
    tables: dict[str, Any], change: Callable[[str, PathKind], str]
) -> None:
    """Replaces all settings that have paths."""
    for name, kind in _PATHS.items():
        *parents, leaf = name.split(".")
        table: Any = functools.reduce(_table, parents, tables)
        value = table.get(leaf)
        if isinstance(value, str) and value:
            table[leaf] = change(value, kind)
        elif isinstance(value, list | tuple):
            table[leaf] = [
                change(v, kind) if isinstance(v, str) and v else v for v in value
            ]


def _table(tables: Any, name: str) -> dict[str, Any]:
    inner = tables.get(name)
    return inner if isinstance(inner, dict) else {}


def resolve(text: str, start: str, kind: PathKind) -> str:
    """Returns a setting whose path is relative to `start` from the working directory.

    Names that are no paths stay, such as that of a TFDS dataset.
    """

    def join(path: str, form: str) -> str:
        if "://" in path or os.path.isabs(path):
            return path
        root = glob.escape(start) if form in _PATTERNS else start
        joined = os.path.normpath(os.path.join(root, path))
        return joined if form != "tfds" or os.path.isdir(joined) else path

    return _change_path(text, kind, join)


def absolute(text: str, kind: PathKind) -> str:
    """Returns a setting with its path from the root on, unless it is a name."""
    return resolve(text, os.getcwd(), kind)


def _change_path(text: str, kind: PathKind, change: Callable[[str, str], str]) -> str:
    """Returns a setting with its path changed; `change` also gets its form."""
    form, separator, rest = text.partition(":")
    forms = {PathKind.SOURCE: SOURCE_KINDS, PathKind.FEATURES: _FEATURES}.get(kind, ())
    if kind is PathKind.FEATURES and separator and form not in forms:
        return text
    if not separator or form not in forms:
        return change(text, "")
    if form in _NAMES:
        return text
    if form == "tfds":
        name, split = split_dataset(rest)
        return f"tfds:{change(name, form)}{split}"
    if form == "keras_h5":
        name, separator, path = rest.partition(":")
        return f"{form}:{name}:{change(path, form)}" if separator else text
    return f"{form}:{change(rest, form)}"


def _check_known(tables: Mapping[str, Any], kind: Any, prefix: str) -> None:
    """Raises ValueError for an unknown setting, with the nearest known one."""
    hints = get_type_hints(kind)
    for name, value in tables.items():
        if name not in hints:
            known = [prefix + field.name for field in dataclasses.fields(kind)]
            of_recipe = f"{prefix}settings"
            raise ValueError(
                unknown("setting", prefix + name, known)
                + (f"; those of a recipe are {of_recipe}.NAME" * (of_recipe in known))
            )
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, dict):
            _check_known(value, hints[name], f"{prefix}{name}.")


def flat_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yields settings of a recipe as assignments for `--set`."""
    for name, value in flatten(settings):
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        yield f"{name}={text}"


def to_toml(config: RunConfig, *, start: str) -> str:
    """Returns the settings that differ from the defaults as a run file.

    Paths inside the directory `start` are written relative to it, others absolute, so
    that the file may be moved with its directory.
    """
    root = os.path.abspath(start)

    def shorten(path: str, form: str) -> str:
        if "://" in path or (form == "tfds" and not os.path.isdir(path)):
            return path
        path = os.path.abspath(path)
        outer = glob.escape(root) if form in _PATTERNS else root
        is_inside = path == outer or path.startswith(outer.rstrip("/") + "/")
        return os.path.relpath(path, outer) if is_inside else path

    tables = _differing(config, RunConfig())
    tables["output"] = config.output
    _change_paths(tables, lambda text, kind: _change_path(text, kind, shorten))
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


def differences(before: RunConfig, now: RunConfig) -> list[str]:
    """Returns a phrase for each setting that differs, `output` excepted.

    Paths are compared from the root on, wherever they were relative to.
    """
    old, new = (_flat(config) for config in (before, now))
    old_paths, new_paths = (_flat(config, absolute) for config in (before, now))
    return [
        f"{name} was {_shown(old, name)}, is {_shown(new, name)}"
        for name in sorted(old.keys() | new.keys())
        if name != "output" and old_paths.get(name) != new_paths.get(name)
    ]


def _flat(
    config: RunConfig, change: Callable[[str, PathKind], str] = lambda text, _: text
) -> dict[str, Any]:
    """Returns each setting by its name, with paths changed."""
    tables = dataclasses.asdict(config)
    _change_paths(tables, change)
    return dict(flatten(tables))


def _shown(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "not given" if value in (None, "", (), []) else typed_json.shown(value)


def write_run(config: RunConfig) -> None:
    """Writes the settings into the directory of the run, unless they are there.

    Raises:
        ValueError: If a file that somebody has written is there with other settings.
    """
    path = os.path.join(config.output, RUN_FILE)
    content = to_toml(config, start=config.output).encode()
    if os.path.exists(path):
        before = typed_json.read_bytes(path)
        if before == content:
            return
        if found := _read_own(path, before):
            _check_same(path, found, config)
            return
    os.makedirs(config.output, exist_ok=True)
    artifact.write_bytes(path, content)


def _read_own(path: str, content: bytes) -> RunConfig | None:
    """Returns the settings of a run file that somebody has written, not `write_run`.

    None for one that `write_run` has written, and for a broken one.
    """
    try:
        found = read_run(path)
    except (OSError, ValueError):
        return None
    is_written = to_toml(found, start=os.path.dirname(path)).encode() == content
    return None if is_written else found


def _check_same(path: str, found: RunConfig, config: RunConfig) -> None:
    if changed := differences(found, config):
        raise ValueError(
            f"{path} would be replaced, and was not written by a run: expected another "
            f"output, or these settings in the file: {'; '.join(changed)}"
        )
