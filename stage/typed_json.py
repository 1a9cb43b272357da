"""JSON files as typed values: dataclasses whose every field is checked.

Whatever a file holds, reading it ends with a value of the wanted type or with a
ValueError of one line that has the path of the file and of the field.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import math
import os
import types
from collections.abc import Callable, Collection
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from etils import epath

from stage.text import printable

T = TypeVar("T")
#: Returns a JSON value as one of the wanted type, or raises `_WrongError`.
_Checker = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Condition:
    """What a value must fulfil beside its type; `expected` says it in words."""

    holds: Callable[[Any], bool]
    expected: str


#: Types of fields with a condition. Numbers are finite in any case.
Count = Annotated[
    int, Condition(lambda n: 0 <= n < 2**63, "a whole number of 0 or more")
]
PositiveCount = Annotated[
    int, Condition(lambda n: 0 < n < 2**63, "a whole number of 1 or more")
]
Hash = Annotated[int, Condition(lambda n: 0 <= n < 2**64, "a whole number of 64 bits")]
Share = Annotated[float, Condition(lambda x: 0 <= x <= 1, "a number in [0, 1]")]
Positive = Annotated[float, Condition(lambda x: x > 0, "a positive number")]
NonNegative = Annotated[float, Condition(lambda x: x >= 0, "a number of 0 or more")]
Digits = Annotated[
    str, Condition(lambda s: s.isdecimal() and len(s) < 19, "a string of digits")
]
PathText = Annotated[
    str, Condition(lambda s: 0 < len(s) <= 4096 and "\0" not in s, "a path")
]
#: Most characters of a class name.
MAX_CLASS_NAME = 1000
ClassName = Annotated[
    str,
    Condition(
        lambda s: len(s) <= MAX_CLASS_NAME,
        f"a class name of at most {MAX_CLASS_NAME:,} characters",
    ),
]

#: Largest file that is read: what a million classes need.
MAX_BYTES = 2**28
#: Most levels of lists and objects inside each other.
MAX_DEPTH = 100
#: Most digits of an integer: those of 2**64.
_MAX_DIGITS = 20
#: Longest message about a value.
_MAX_MESSAGE = 400
#: Longest part of a wrong value that a message repeats.
_MAX_SHOWN = 80
_SCALARS = {str: "a string", int: "a whole number", bool: "true or false"}


def read(path: epath.PathLike, kind: type[T], *, only_known: bool = False) -> T:
    """Returns the content of a JSON file as a dataclass or another type.

    Fields that a dataclass has not are ignored, or refused if `only_known`.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the path is no regular file, or its content is no such value.
    """
    return parse(read_bytes(path), kind, str(path), only_known=only_known)


def read_bytes(path: epath.PathLike) -> bytes:
    """Returns the bytes of a small file; ValueError if it is large, or no file."""
    local = os.fspath(path)  # Only there are pipes, and only `os` tells them.
    if "://" not in local and os.path.exists(local) and not os.path.isfile(local):
        raise ValueError(f"{path}: expected a regular file")
    check_size(path)
    return epath.Path(path).read_bytes()


def check_size(path: epath.PathLike) -> None:
    """Raises ValueError if a file is too large to be read."""
    size = epath.Path(path).stat().length
    if size > MAX_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_BYTES:,} bytes, got {size:,}")


def parse(content: bytes, kind: type[T], name: str, *, only_known: bool = False) -> T:
    """Returns JSON as a dataclass or another type, see `read`.

    `name` is what messages call the content.

    Raises:
        ValueError: If the content is not JSON in UTF-8, is nested too deeply, repeats
            a key, has a number that is not finite or of too many digits, or is not of
            the type.
    """
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_unique,
            parse_float=_parse_float,
            parse_int=_parse_int,
            parse_constant=_refuse,
        )
        _check_depth(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: expected JSON: {error_message(error)}") from error
    return convert(value, kind, name, only_known=only_known)


def convert(value: Any, kind: type[T], name: str, *, only_known: bool = False) -> T:
    """Returns what JSON or TOML holds as a dataclass or another type, see `read`.

    `name` is what messages call the content. Raises ValueError if it is not of the
    type.
    """
    check = _checker(kind, only_known)  # type: ignore[arg-type]
    try:
        found: T = check(value)
    except _WrongError as error:
        where = error.path.removeprefix(".")
        message = f"{where and where + ': '}{error_message(error)}"
        raise ValueError(f"{name}: {message}") from error
    return found


def shown(value: Any) -> str:
    """Returns a value of a file as messages quote it: short, in one printable line."""
    return shorten(json.dumps(value, default=str))  # TOML has times, too.


def error_message(error: Exception) -> str:
    """Returns the message of an error that may quote the file at any length."""
    text = printable(" ".join(str(error).split()))
    return shorten(text, _MAX_MESSAGE)


class _WrongError(ValueError):
    """A value is not of the wanted type; `path` is that of the field."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def _expected(what: str, value: Any) -> _WrongError:
    return _WrongError(f"expected {what}, got {shown(value)}")


def shorten(text: str, limit: int = _MAX_SHOWN) -> str:
    """Returns text of at most `limit` characters; an ellipsis marks what was cut."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        ((repeated, _),) = counts.most_common(1)
        raise ValueError(f"the key {shown(repeated)} is repeated")
    return found


def _parse_float(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse(text)


def _parse_int(text: str) -> int:
    return int(text) if len(text) <= _MAX_DIGITS else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"expected a finite number of usual size, got {shorten(text)}")


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                _check_depth(inner, depth + 1)


@functools.cache
def _checker(kind: Any, only_known: bool) -> _Checker:
    """Returns the function that checks for a type and converts to it."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return lambda value: value
    if dataclasses.is_dataclass(kind):
        return _dataclass_checker(kind, only_known)
    if origin is Literal:
        return functools.partial(_check_literal, arguments)
    if origin is Annotated:
        return _condition_checker(_checker(arguments[0], only_known), arguments[1:])
    if origin in (Union, types.UnionType):  # Of one type and None.
        (inner,) = (a for a in arguments if a is not types.NoneType)
        check = _checker(inner, only_known)
        return lambda value: None if value is None else check(value)
    if origin is tuple or origin is list:
        return _sequence_checker(origin, _checker(arguments[0], only_known))
    if origin is dict:
        return _dict_checker(_checker(arguments[1], only_known))
    if kind is float:
        return _check_float
    return functools.partial(_check_scalar, kind)


def _check_scalar(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise _expected(_SCALARS[kind], value)
    return value


def _check_float(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise _expected("a number", value)
    return float(value)


def _check_literal(options: Collection[Any], value: Any) -> Any:
    if not isinstance(value, str | int) or value not in options:
        raise _expected(f"one of {', '.join(map(json.dumps, options))}", value)
    return value


def _condition_checker(check: _Checker, conditions: Collection[Condition]) -> _Checker:
    def check_conditions(value: Any) -> Any:
        found = check(value)
        for condition in conditions:
            if not condition.holds(found):
                raise _expected(condition.expected, value)
        return found

    return check_conditions


def _sequence_checker(make: Callable[[list[Any]], Any], check: _Checker) -> _Checker:
    def check_sequence(value: Any) -> Any:
        if type(value) is not list:
            raise _expected("a list", value)
        return make([_within(f"[{i}]", check, inner) for i, inner in enumerate(value)])

    return check_sequence


def _dict_checker(check: _Checker) -> _Checker:
    def check_dict(value: Any) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
        return {k: _within(f".{_name(k)}", check, inner) for k, inner in value.items()}

    return check_dict


def _dataclass_checker(kind: Any, only_known: bool) -> _Checker:
    hints = get_type_hints(kind, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    checks = {name: _checker(hints[name], only_known) for name in fields}
    nothing = dataclasses.MISSING
    required = [
        name
        for name, field in fields.items()
        if field.default is nothing and field.default_factory is nothing
    ]

    def check_dataclass(value: Any) -> Any:
        if type(value) is not dict:
            raise _expected("an object", value)
        for name in required:
            if name not in value:
                raise _WrongError("expected a value, found none", f".{name}")
        if only_known and value.keys() - fields.keys():
            name = min(value.keys() - fields.keys())
            raise _WrongError("expected no such field", f".{_name(name)}")
        found = {
            name: _within(f".{name}", check, value[name])
            for name, check in checks.items()
            if name in value
        }
        try:
            return kind(**found)
        except ValueError as error:
            raise _WrongError(str(error)) from error

    return check_dataclass


def _within(part: str, check: _Checker, value: Any) -> Any:
    try:
        return check(value)
    except _WrongError as error:
        error.path = part + error.path
        raise


def _name(key: str) -> str:
    """Returns a key of a file as messages show it."""
    return key if key.isidentifier() and key.isascii() else shown(key)
