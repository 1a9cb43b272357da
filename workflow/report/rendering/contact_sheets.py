"""The contact sheets of a report, cut to the tiles that a page has room for."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Iterable

from workflow.samples.tiles import SHEETS, Sample

#: Largest size of all images on a page as base64, in bytes; the page stays below 5 MB.
BUDGET = 3_600_000
#: Title of each sheet, and a sentence about it.
_TITLES = {
    "highest": ("Highest confidence", "Are they right, and do they differ enough?"),
    "random": ("Random", "A random choice of the kept images. How many are wrong?"),
    "above_cut": ("Just above the cut-off", "The kept images closest to it."),
    "below_cut": ("Just below the cut-off", "The rejected images closest to it."),
    "most_copied": ("Most copies", "A wrong label here counts several times."),
    "undecodable": ("No prediction", "Images without one, and the reason."),
    "leaked": ("Leaked", "Left: the dropped image; right: the excluded one."),
    "duplicate": ("Duplicates", "Left: the dropped image; right: the better one."),
}
_TYPES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}


@dataclasses.dataclass(frozen=True)
class ContactSheet:
    """A sheet: the tiles that the page has room for, of `total` tiles."""

    title: str
    note: str
    shown: list[Sample]
    total: int


def arrange(samples: Iterable[Sample]) -> list[ContactSheet]:
    """Returns all sheets, including empty ones, cut to fit into the budget.

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
