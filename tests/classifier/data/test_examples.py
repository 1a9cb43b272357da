"""Keys as text."""

import pytest

from classifier.data.examples import key_text


@pytest.mark.parametrize(
    ("key", "text"),
    [(b"a/1.png", "a/1.png"), ("\u00fc".encode(), "\u00fc"), (b"a\xff#3", r"a\xff#3")],
)
def test_keys_are_text_whatever_their_bytes(key, text):
    assert key_text(key) == text
