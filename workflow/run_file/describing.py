"""All settings of a run file with their descriptions, taken from the docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import tomli_w

from stage.setting_list import describe_fields
from stage.text import printable
from workflow.run_file.config import RunConfig

#: Most characters of a line of comments.
_WIDTH = 86


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the run file; `name` is "" for what stands above all sections.

    Attributes:
        name: Name with those of the sections around it, as `runner.dataflow`.
        text: What it is about.
        settings: Default and description of each setting by name.
    """

    name: str
    text: str
    settings: dict[str, tuple[Any, str]]


def sections(config: Any = None, name: str = "") -> Iterator[Section]:
    """Yields the sections of a run file, the outer before the inner."""
    config = RunConfig() if config is None else config
    docstring = inspect.getdoc(type(config)) or ""
    text, _, _ = docstring.partition("\n\nAttributes:\n")
    described = describe_fields(type(config))
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    inner = {n: value for n, value in fields.items() if dataclasses.is_dataclass(value)}
    yield Section(
        name=name,
        text=" ".join(text.split()),
        settings={n: (v, described[n]) for n, v in fields.items() if n not in inner},
    )
    for inner_name, value in inner.items():
        yield from sections(value, f"{name}.{inner_name}".lstrip("."))


def write_template(given: Mapping[str, Mapping[str, Any]], header: str) -> str:
    """Returns a run file with all settings, those that are not given as comments.

    Args:
        given: Values by section and setting; `""` is the section above all.
        header: Lines at the top.
    """
    lines = [*_comment(header), ""]
    for section in sections():
        if section.name:
            lines += ["", *_comment(section.text), f"[{section.name}]"]
        for name, (default, text) in section.settings.items():
            value = given.get(section.name, {}).get(name)
            lines += _comment(text)
            if value is None:
                lines.append(f"# {write_assignment(name, default)}")
            else:
                lines.append(write_assignment(name, value))
    return "\n".join(lines) + "\n"


def write_assignment(name: str, value: Any) -> str:
    """Returns a setting as a line of a run file; without a value, its name alone."""
    if value is None:
        return f"{name} ="
    if isinstance(value, dict):
        return f"{name} = {{}}"
    return tomli_w.dumps({name: value}).rstrip("\n")


def _comment(text: str) -> list[str]:
    """Returns lines of comments; commands, which are indented, stay in a line."""
    return [
        f"# {printable(line)}".rstrip()
        for paragraph in text.split("\n")
        for line in (
            [paragraph]
            if paragraph.startswith(" ")
            else textwrap.wrap(paragraph, _WIDTH, break_on_hyphens=False) or [""]
        )
    ]
