"""The contact sheets of a report: what the pseudo-labeled images look like."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Iterator, Sequence

from workflow.report.rendering.markup import Markup, element, join, name
from workflow.samples.choice import SHEETS, Sample

#: Bytes of all images on a page, as text: what leaves a page of 5 MB room for the rest.
BUDGET = 3_600_000
#: What is asked of the eye, by sheet.
_TITLES = {
    "highest": (
        "Surest",
        "The highest confidence. Are they right, and are they alike?",
    ),
    "random": ("At random", "Of all that is kept. How many are wrong?"),
    "above_cut": ("Just kept", "The last of their classes that are kept."),
    "below_cut": ("Just not kept", "The first that are not. Would they have done?"),
    "most_copied": (
        "Copied most",
        "Of classes with few images. A wrong one counts often.",
    ),
    "undecodable": ("Undecodable", "What could not be read, and why."),
    "leaked": ("Leaked", "Left, in the corpus; right, what must not be learned from."),
    "duplicate": (
        "Duplicates",
        "Left, what was dropped; right, what was kept for it.",
    ),
}
_TYPES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}
_LABEL_COLUMNS = 14
_REASON_COLUMNS = 60


def make_sheets(samples: Iterable[Sample], class_names: Sequence[str]) -> Markup:
    """Returns the sheets that have an image, and of the others that they have none.

    Args:
        samples: Of a round, by sheet and position.
        class_names: K names.
    """
    by_sheet = {
        sheet: list(found)
        for sheet, found in itertools.groupby(samples, key=lambda one: one.sheet)
    }
    shown = _affordable(by_sheet)
    parts = []
    for sheet in SHEETS:
        there = by_sheet.get(sheet, [])
        title, question = _TITLES[sheet]
        tiles = [_tile(one, class_names) for one in there[: shown.get(sheet, 0)]]
        count = f"{len(tiles)} of {len(there)}. " if len(tiles) < len(there) else ""
        parts.append(element("h3", title))
        if tiles:
            parts.append(element("p", count, question, class_="note"))
            parts.append(element("ul", tiles, class_="sheet"))
        else:
            parts.append(element("p", "None.", class_="note"))
    return join(parts)


def _affordable(by_sheet: dict[str, list[Sample]]) -> dict[str, int]:
    """Returns how many tiles of each sheet there is room for, dealt out in turns."""
    shown = dict.fromkeys(by_sheet, 0)
    spent = 0
    for sheet, sample in _in_turns(by_sheet):
        spent += sum(
            _size(image) for image in (sample.thumbnail, sample.twin_thumbnail)
        )
        if spent > BUDGET:
            break
        shown[sheet] += 1
    return shown


def _in_turns(by_sheet: dict[str, list[Sample]]) -> Iterator[tuple[str, Sample]]:
    columns = [[(sheet, one) for one in found] for sheet, found in by_sheet.items()]
    for row in itertools.zip_longest(*columns):
        yield from (tile for tile in row if tile is not None)


def _size(image: bytes | None) -> int:
    return len(image or b"") * 4 // 3


def _tile(sample: Sample, class_names: Sequence[str]) -> Markup:
    label = ""
    if sample.label is not None and 0 <= sample.label < len(class_names):
        label = class_names[sample.label]
    images = [_image(sample.thumbnail, label)]
    if sample.twin_key is not None:
        images.append(_image(sample.twin_thumbnail, "its twin"))
    facts = []
    if sample.label is not None:
        facts.append(element("span", name(label, _LABEL_COLUMNS), class_="label"))
    if sample.confidence is not None:
        copies = (
            f", {sample.copies}\N{MULTIPLICATION SIGN}" if sample.copies > 1 else ""
        )
        facts.append(element("span", f"{sample.confidence:.1%}{copies}"))
    if sample.reason:
        facts.append(element("span", name(sample.reason, _REASON_COLUMNS)))
    return element(
        "li",
        element("div", images, class_="images"),
        facts,
        title=_origin(sample),
        class_="pair" if sample.twin_key is not None else None,
    )


def _origin(sample: Sample) -> str:
    twin = f"; twin of {sample.twin_key[:200]}" if sample.twin_key is not None else ""
    return f"{sample.key[:200]}{twin}"


def _image(content: bytes | None, label: str) -> Markup:
    kind = next(
        (k for head, k in _TYPES.items() if (content or b"").startswith(head)), ""
    )
    if content is None or not kind:
        return element("div", "no image", class_="nothing")
    encoded = base64.b64encode(content).decode()
    return element(
        "img",
        src=f"data:image/{kind};base64,{encoded}",
        alt=label[:100],
    )
