"""The table of `docs/faults.md`, from which the tests of this package read."""

import dataclasses
import re

import pytest

from tests.commands import ROOT

PATH = ROOT / "docs" / "faults.md"
#: Names of the faults that tests hold, as they are imported.
held: set[str] = set()


@dataclasses.dataclass(frozen=True)
class Row:
    """What the page says of a fault.

    Attributes:
        fault: Its name.
        end: How it ends.
        words: Parts of the message that the user gets.
    """

    fault: str
    end: str
    words: tuple[str, ...]

    @property
    def status(self) -> str:
        """The status of the image's row: ok where the page says labeled."""
        named = re.fullmatch(r"row `(\w+)`", self.end)
        assert named or self.end == "labeled", self
        return named[1] if named else "ok"

    def check(self, message: str) -> None:
        """Compares a message with the page's words."""
        assert self.words, f"the page has no words for {self.fault!r}, got {message!r}"
        for words in self.words:
            assert words in message, f"expected {words!r} in {message!r}"


def read_rows() -> list[Row]:
    """Returns the rows of the table in order."""
    lines = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", PATH.read_text(), re.M)
    return [
        Row(fault, end, tuple(re.findall(r"`(.+?)`", words)))
        for fault, end, words in lines[1:]
        if not set(fault) <= {"-", " "}
    ]


def read_program() -> str:
    """Returns the program that lists what has no prediction."""
    (program,) = re.findall(r"```python\n(.*?)```", PATH.read_text(), re.S)
    return str(program)


def holds(*faults: str) -> pytest.MarkDecorator:
    """Has a test hold rows of the page, given to it one by one as `row`."""
    held.update(faults)
    rows = {row.fault: row for row in read_rows()}
    return pytest.mark.parametrize(
        "row", [rows.get(fault, Row(fault, "", ())) for fault in faults], ids=faults
    )
