import dataclasses
import datetime
import json
import os
import re
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stage import typed_json
from stage.typed_json import Count, Hash, Share


@dataclasses.dataclass(frozen=True)
class Inner:
    share: Share
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Outer:
    count: Count
    inner: tuple[Inner, ...] = ()
    kind: Literal["a", "b"] = "a"
    maybe: str | None = None
    by_name: dict[str, float] | None = None
    flag: bool = False
    number: Hash = 0

    def __post_init__(self):
        if self.count == 13:
            raise ValueError("count must not be 13")


def parse(content, **more):
    return typed_json.parse(content, Outer, "F", **more)


def test_a_dataclass_comes_back_as_it_was():
    outer = Outer(3, (Inner(1.0, "\ud800é"), Inner(0.25)), "b", None, {"x/y": 2.0})
    content = json.dumps(dataclasses.asdict(outer)).encode()
    assert parse(content) == outer
    assert parse(b'{"count": 3}') == Outer(3)
    assert parse(b'{"count": 1, "number": 18446744073709551615}').number == 2**64 - 1


def test_a_whole_number_is_a_number():
    (inner,) = parse(b'{"count": 0, "inner": [{"share": 1}]}').inner
    assert isinstance(inner.share, float)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[]", r"F: .*object.*\[\]"),
        ("null", "F: .*object.*null"),
        ("{}", "F: count: .*none"),
        ('{"count": true}', "F: count: .*true"),
        ('{"count": 1.0}', r"F: count: .*1\.0"),
        ('{"count": -1}', "F: count: .*0 or more.*-1"),
        ('{"count": 9223372036854775808}', "F: count: .*9223372036854775808"),
        ('{"count": 13}', "F: count must not be 13"),
        ('{"count": 1, "count": 2}', 'F: .*"count"'),
        ('{"count": 1, "inner": [{"share": 0}, {"share": "high"}]}', "[1].share: "),
        ('{"count": 1, "inner": [{"share": 1.5}]}', r"inner[0].share: .*[0, 1].*1.5"),
        ('{"count": 1, "inner": [{"text": ""}]}', "inner[0].share: "),
        ('{"count": 1, "inner": {}}', "inner: .*list.*{}"),
        ('{"count": 1, "kind": "c"}', 'kind: .*"a", "b".*"c"'),
        ('{"count": 1, "kind": []}', "kind: .*[]"),
        ('{"count": 1, "maybe": 1}', "maybe: .*1"),
        ('{"count": 1, "by_name": {"x/y": ""}}', 'by_name."x/y": '),
        ('{"count": 1, "flag": 0}', "flag: .*0"),
        ('{"count": NaN}', "F: .*NaN"),
        ('{"count": 1e400}', "F: .*1e400"),
        ('{"count": 1' + "0" * 5000 + "}", "F: .*1000"),
        ("[" * 100_000, "F: "),
        ('{"count":' + "[" * 500 + "]" * 500 + "}", "F: .*levels"),
        ("", "F: .*JSON"),
        ('{"count": ', "F: .*JSON"),
        ("\x00\x00", "F: .*JSON"),
    ],
)
def test_anything_else_is_one_line_with_the_field(content, expected):
    pattern = re.escape(expected).replace(r"\.\*", ".*").replace(r"\\", "\\")
    with pytest.raises(ValueError) as error:
        parse(content.encode())
    message = str(error.value)
    assert message.startswith("F: ")
    assert "\n" not in message
    assert len(message) < 300
    assert re.search(pattern, message) or re.search(expected, message)


def test_unknown_fields_are_ignored_or_refused():
    content = b'{"count": 1, "inner": [{"share": 1, "new": 2}]}'
    assert parse(content).count == 1
    with pytest.raises(ValueError, match=r"inner\[0\]\.new"):
        parse(content, only_known=True)


def test_what_is_no_utf8_is_refused():
    for content in (
        b"\xff",
        b'\xef\xbb\xbf{"count": 1}',
        '{"count": 1}'.encode("utf-16"),
    ):
        with pytest.raises(ValueError, match=r"^F: "):
            parse(content)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    st.sampled_from([field.name for field in dataclasses.fields(Outer)]),
)
def test_no_value_gets_past_its_type(value, name):
    content = json.dumps({"count": 1, name: value}).encode()
    try:
        found = parse(content)
    except ValueError as error:
        assert str(error).startswith("F: ")
    else:
        assert json.loads(json.dumps(dataclasses.asdict(found)))[name] == value


def test_files_that_are_none_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(typed_json.MAX_BYTES + 1)
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "directory", "large", "zero"):
        with pytest.raises(ValueError, match=f"{tmp_path}/{name}: "):
            typed_json.read(tmp_path / name, Any)
    with pytest.raises(FileNotFoundError):
        typed_json.read(tmp_path / "nothing", Any)


def test_times_of_toml_are_shown():
    assert typed_json.shown(datetime.date(2020, 1, 2)) == '"2020-01-02"'
