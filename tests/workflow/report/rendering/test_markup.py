import html.parser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workflow.report.runs import HOSTILE
from workflow.report.rendering.markup import (
    Markup,
    element,
    escape,
    name,
    number,
    shorten,
)

#: Every character there is, halves of characters among them.
anything = st.text(st.characters(codec=None, exclude_categories=()))


class Reader(html.parser.HTMLParser):
    """Notes what a browser would find."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


@given(child=anything, attribute=anything)
def test_what_is_no_markup_stays_text(child, attribute):
    found = Reader(element("p", child, title=attribute))
    assert found.tags == ["p"]
    assert [name for name, _ in found.attributes] == ["title"]
    for text, read in ((child, found.text), (attribute, found.attributes[0][1])):
        assert len(read) == len(text)
        assert all(r in (t, "\ufffd") for r, t in zip(read, text, strict=True))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_becomes_one_element(text):
    found = Reader(name(text))
    assert found.tags == ["bdi"]
    assert len(found.text) <= 30
    assert found.text.isprintable()


@given(text=anything)
def test_what_is_escaped_can_be_written_and_turns_nothing(text):
    escaped = escape(text)
    escaped.encode()
    assert not set(escaped) & set("\u200f\u202e\u2066\x00\x1b")


@given(text=anything, columns=st.integers(2, 40))
def test_shortened_is_one_line_of_at_most_so_many_columns(text, columns):
    line = shorten(text, columns)
    wide = sum(ord(c) > 0x1100 for c in line)
    assert len(line) <= columns + wide
    assert line == " ".join(line.split())
    if len(text) < columns / 2 or not line.endswith("…"):
        assert line == " ".join(text.split())


def test_wide_letters_count_twice():
    assert shorten("\u4e2d" * 10, 20) == "\u4e2d" * 10
    assert shorten("\u4e2d" * 11, 20) == "\u4e2d" * 9 + "…"


def test_the_whole_name_shows_on_pointing_at_it():
    ((title, text),) = Reader(name("a" * 100)).attributes
    assert (title, text) == ("title", "a" * 100)
    assert not Reader(name("short")).attributes


def test_children_that_are_markup_stay_as_they_are():
    assert element("b", Markup("<i>"), ["<", Markup("x")]) == "<b><i>&lt;x</b>"
    assert element("img", src="a&b", hidden=True, alt=None) == (
        '<img src="a&amp;b" hidden>'
    )
    assert element("a", class_="x", stroke_width=1.5) == (
        '<a class="x" stroke-width="1.5"></a>'
    )


def test_coordinates_are_short():
    assert [number(x) for x in (3.0, 3.14159, -0.01, 400)] == ["3", "3.1", "0", "400"]
