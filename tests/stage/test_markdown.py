import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage import artifact, markdown
from stage.licenses import Origin


@given(st.text())
def test_a_name_stays_in_its_cell(text):
    escaped = markdown.escape(text)
    assert not set(escaped) & set("|<>`\n\r")
    assert not re.search(r"(?<!\\)[*_~\[\]]", escaped.replace("\\\\", ""))
    assert not re.search(r"&(?!amp;|lt;|gt;|quot;|#x27;|#124;|#96;)", escaped)


def test_plain_names_stay_as_they_are():
    assert markdown.escape("great white shark, n01484850 (ü)") == (
        "great white shark, n01484850 (ü)"
    )
    assert markdown.escape(" a\n b ") == "a b"


def render(*ledger):
    return markdown.render("stage", "licenses.md", ledger=ledger)


def test_each_origin_has_a_row_and_what_is_unknown_is_counted():
    text = render(
        Origin(kind="images", name="folder:a", fingerprint="a" * 64),
        Origin(kind="weights", name="hf:b", revision="main", license="MIT"),
        Origin(kind="artifact", name="runs/c"),
    )
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert rows == [
        f"| images | folder:a | unknown | nobody | {'a' * 40} |",
        "| weights | hf:b | MIT | nobody | main |",
        "| artifact | runs/c | unknown | nobody |  |",
    ]
    assert "2 of 3 are unknown" in text
    assert "earlier version" in text


def test_a_list_without_unknown_ones_does_not_say_so():
    text = render(Origin(kind="images", name="x", license="MIT", stated_by="user"))
    assert "are unknown" not in text
    assert "earlier version" not in text
    assert "Nothing is listed" in render()


@pytest.mark.parametrize(
    "text", ["<script>|`x`", "\x1b[2J", "\u202eevil", "a\n\n# b | c", "x" * 10**5]
)
def test_nothing_from_outside_leaves_its_cell(text):
    plain = render(Origin(kind="images", name="x", license="y", revision="z"))
    card = render(Origin(kind="images", name=text, license=text, revision=text))
    assert len(card.splitlines()) == len(plain.splitlines())
    assert card.count("|") == plain.count("|")
    assert "<" not in card
    assert all(char == "\n" or char.isprintable() for char in card)


def test_a_card_is_written_only_if_it_has_changed(tmp_path):
    path = tmp_path / artifact.CARD
    markdown.write_card(tmp_path, "one")
    os.utime(path, (1, 1))
    markdown.write_card(tmp_path, "one")
    assert path.stat().st_mtime == 1
    markdown.write_card(tmp_path, "two")
    assert path.read_text() == "two"
