import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage.text import and_more, printable, printable_lines

#: Every character there is, surrogates among them.
anything = st.text(st.characters(codec=None, exclude_categories=()))
#: Bidirectional classes of marks that turn the direction of what follows.
TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@given(text=anything)
def test_what_is_printable_acts_on_nothing(text):
    shown = printable(text)
    shown.encode()
    for character in shown:
        assert unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(character) not in TURNING
        assert character not in "\u061c\u200e\u200f\ufeff"
    assert shown.splitlines() in ([shown], [])
    assert printable(shown) == shown


@given(text=anything)
def test_lines_stay_lines(text):
    lines = printable_lines(text).split("\n")
    assert lines == [printable(line) for line in text.split("\n")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\r\nb\tc\x00", r"a\r\nb\tc\x00"),
        ("\x7f\x85\x9b2J", r"\x7f\x85\x9b2J"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("\udcff\U000e0041", r"\udcff\U000e0041"),
    ],
)
def test_escapes(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    "text",
    ["robin.jpg", "a b/Käfer, 蝶.png", "~$&'\"\\", "עברית", "क्‍ष", "👩‍🔬", "a\xa0b"],
)
def test_ordinary_text_stays_as_it_is(text):
    assert printable(text) == text


def test_names_after_the_first_are_counted():
    assert [and_more("x" * count) for count in (0, 1, 2, 1001)] == [
        *("", "", " and 1 more", " and 1,000 more")
    ]
