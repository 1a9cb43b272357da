"""The settings of a recipe with their values, types and descriptions."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

_INDENT, _WIDTH = " " * 4, 88


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a recipe.

    Attributes:
        path: Path as `--set` takes it, such as "optimizer.momentum".
        value: Value as `--set` takes it.
        type: Name of the type, or the possible values.
        description: What the docstring of its class says.
    """

    path: str
    value: str
    type: str
    description: str


def list_settings(config: Any, prefix: str = "") -> Iterator[Setting]:
    """Yields the settings of a frozen dataclass and of the groups in it, in order."""
    types, descriptions = get_type_hints(type(config)), describe_fields(type(config))
    for field in dataclasses.fields(config):
        value, path = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from list_settings(value, path + ".")
        else:
            yield Setting(
                path=path,
                value=_show(value),
                type=_name_type(types[field.name]),
                description=descriptions[field.name],
            )


def describe_fields(of: type) -> dict[str, str]:
    """Returns what the section "Attributes" of a class's docstring says, by field.

    A field of a class above it is described there.
    """
    found: dict[str, str] = {}
    for each in reversed(of.__mro__):
        _, _, section = (inspect.getdoc(each) or "").partition("\nAttributes:\n")
        section, *_ = re.split(r"^(?=\S)", section, flags=re.MULTILINE)
        entries = re.split(r"^ {4}(\w+): ", section, flags=re.MULTILINE)[1:]
        for name, text in zip(entries[::2], entries[1::2], strict=True):
            found[name] = " ".join(text.split())
    return found


def render(settings: Iterable[Setting]) -> str:
    """Returns settings as lines: each with its value and type, then its description."""
    blocks = (
        [
            f"{setting.path}={setting.value}  ({setting.type})",
            *textwrap.wrap(
                setting.description,
                _WIDTH,
                initial_indent=_INDENT,
                subsequent_indent=_INDENT,
            ),
        ]
        for setting in settings
    )
    return "\n".join(line for block in blocks for line in block)


def _show(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _name_type(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return f"{get_args(hint)[0].__name__}, separated by commas"
    return getattr(hint, "__name__", str(hint))
