"""The dataset's card: `README.md`, for a reader who does not know the project.

It depends on the selection alone, not on times and paths, so that equal datasets have
equal cards.
"""

from __future__ import annotations

import dataclasses
import functools
import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from pseudo_label.dataset import records
from pseudo_label.selection.decision import Selection

#: Values of a setting that are listed; of longer lists, one per class, only the length.
_MAX_VALUES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class CardFacts:
    """The content of a card.

    Attributes:
        selection: Selection of the images.
        predictions: Fingerprint of the labeling run.
        temperature: Temperature of the softmax; 1 without calibration.
        teachers: Fingerprints of the classifiers that labeled, at least one.
        round: Round of self-training, from 1 on.
        top_k: Classes stored for each image.
        num_shards: Number of record files.
        num_bytes: Size of all record files in bytes.
    """

    selection: Selection
    predictions: str
    temperature: float
    teachers: Sequence[str]
    round: int
    top_k: int
    num_shards: int
    num_bytes: int


def make_card(facts: CardFacts) -> str:
    """Returns the card, as Markdown."""
    return _template().render(
        vars(facts),
        records=records,
        settings=dict(_flatten(dataclasses.asdict(facts.selection.settings))),
        wire_types=records.wire_types(top_k=facts.top_k),
    )


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
