"""The contact sheets of a report: which tiles a page has room for."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Iterable

from workflow.samples.tiles import SHEETS, Sample

#: Bytes of all images on a page, in base64: leaves room for the rest within 5 MB.
BUDGET = 3_600_000
#: Title of each sheet, and the question it answers.
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


@dataclasses.dataclass(frozen=True)
class ContactSheet:
    """A sheet: the tiles that the page has room for, of `total` that there are."""

    title: str
    question: str
    shown: list[Sample]
    total: int


def arrange(samples: Iterable[Sample]) -> list[ContactSheet]:
    """Returns all sheets, empty ones too, cut to what fits into the budget.

    The samples are ordered by sheet and position.
    """
    by_sheet: dict[str, list[Sample]] = {sheet: [] for sheet in SHEETS}
    for sample in samples:
        by_sheet[sample.sheet].append(sample)
    shown = _fit_budget(by_sheet)
    return [
        ContactSheet(*_TITLES[sheet], shown[sheet], len(tiles))
        for sheet, tiles in by_sheet.items()
    ]


def data_address(image: bytes | None) -> str:
    """Returns the data URL of a JPEG or PNG; empty if it is neither."""
    image = image or b""
    for head, kind in _TYPES.items():
        if image.startswith(head):
            return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
    return ""


def _fit_budget(by_sheet: dict[str, list[Sample]]) -> dict[str, list[Sample]]:
    """Returns the first tiles of each sheet, taken from the sheets in turn."""
    shown: dict[str, list[Sample]] = {sheet: [] for sheet in by_sheet}
    spent = 0
    for row in itertools.zip_longest(*by_sheet.values()):
        for tile in filter(None, row):
            images = (tile.thumbnail or b"", tile.twin_thumbnail or b"")
            spent += sum(len(image) * 4 // 3 for image in images)
            if spent > BUDGET:
                return shown
            shown[tile.sheet].append(tile)
    return shown
