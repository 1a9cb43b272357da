from hypothesis import given
from hypothesis import strategies as st

from stage.text import printable
from workflow.report.rendering import text
from workflow.report.rendering.text import shorten

#: Every character there is, surrogates among them.
anything = st.text(st.characters(codec=None, exclude_categories=()))


@given(value=anything, columns=st.integers(2, 40))
def test_shortened_is_one_line_of_at_most_so_many_columns(value, columns):
    line = shorten(value, columns)
    wide = sum(ord(c) > 0x1100 for c in line)
    assert len(line) <= columns + wide
    assert line == " ".join(line.split())
    if not line.endswith("…"):
        assert line == printable(" ".join(value.split()))


def test_wide_letters_count_twice():
    assert shorten("\u4e2d" * 10, 20) == "\u4e2d" * 10
    assert shorten("\u4e2d" * 11, 20) == "\u4e2d" * 9 + "…"


def test_coordinates_are_short():
    assert [text.coordinate(x) for x in (3.0, 3.14159, -0.01, 400)] == [
        *("3", "3.1", "0", "400")
    ]


def test_numbers_are_formatted():
    assert text.count(1300) == "1,300"
    assert text.percent(0.12345) == "12.3%"
    assert text.percent(0.12345, 2) == "12.35%"
    assert text.between(0.125, 1) == "12.5\N{EN DASH}100.0"
    assert [text.points(share) for share in (0.015, -0.015, 0)] == [
        *("+1.5", "\N{MINUS SIGN}1.5", "+0.0")
    ]
