"""Cards in Markdown from templates, with text from outside that acts on no reader."""

from __future__ import annotations

import functools
import html
import re
from typing import Any

import jinja2
from etils import epath
from markupsafe import Markup

from stage import artifact, licenses
from stage.text import printable_lines


def render(package: str, template: str, **values: Any) -> str:
    """Returns a package's template with its values, as Markdown.

    `licenses.md` is a template that all may include: the table of a `ledger`.
    """
    return printable_lines(_environment(package).get_template(template).render(values))


def write_card(directory: epath.PathLike, card: str) -> None:
    """Writes an artifact's card, `README.md`, unless it is there already."""
    path, content = epath.Path(directory) / artifact.CARD, card.encode()
    if not path.exists() or path.read_bytes() != content:
        artifact.write_bytes(path, content)


def escape(text: str) -> Markup:
    """Returns text that Markdown shows as it is, also within a table."""
    line = " ".join(text.split())
    quoted = html.escape(line).replace("|", "&#124;").replace("`", "&#96;")
    return Markup(re.sub(r"([\\*_~\[\]])", r"\\\1", quoted))


@functools.cache
def _environment(package: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package), jinja2.PackageLoader("stage")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(markdown=escape, count="{:,}".format)
    environment.globals.update(UNKNOWN=licenses.UNKNOWN)
    return environment
