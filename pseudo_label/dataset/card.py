"""The dataset's card: `README.md`, for a reader who does not know the project.

It holds no times and paths, so that equal datasets have equal cards.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import re
from collections.abc import Iterator
from typing import Any

import jinja2
from markupsafe import Markup

from pseudo_label.dataset import records
from pseudo_label.predictions.prediction_set import PredictionSet
from pseudo_label.selection.decision import Selection
from stage.text import printable_lines

CARD = "README.md"
#: Maximum number of values of a setting to list; of longer lists, the length is shown.
_MAX_VALUES = 10


def make_card(
    selection: Selection,
    predictions: PredictionSet,
    *,
    round_number: int,
    num_shards: int,
    num_bytes: int,
) -> str:
    """Returns the card, as Markdown.

    Args:
        selection: Selection of the images.
        predictions: Predictions that the selection was made from.
        round_number: Round of self-training, from 1 on.
        num_shards: Number of record files.
        num_bytes: Size of all record files in bytes.
    """
    card = _template().render(
        selection=selection,
        settings=dict(_flatten(dataclasses.asdict(selection.settings))),
        predictions=predictions,
        round=round_number,
        num_shards=num_shards,
        num_bytes=num_bytes,
        records=records,
        wire_types=records.wire_types(top_k=predictions.top_k),
    )
    return printable_lines(card)


def escape(text: str) -> Markup:
    """Returns text that Markdown shows as it is, also within a table."""
    line = " ".join(text.split())
    quoted = html.escape(line).replace("|", "&#124;").replace("`", "&#96;")
    return Markup(re.sub(r"([\\*_~\[\]])", r"\\\1", quoted))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pseudo_label.dataset"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(markdown=escape, count="{:,}".format)
    return environment.get_template("card.md")


def _flatten(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields the name and value of each setting; names of nested ones hold dots."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple) and len(value) > _MAX_VALUES:
            yield prefix + name, f"{len(value):,} values"
        elif isinstance(value, list | tuple):
            yield prefix + name, ", ".join(map(_format_value, value))
        else:
            yield prefix + name, _format_value(value)


def _format_value(value: Any) -> str:
    if value is None:
        return "none"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
