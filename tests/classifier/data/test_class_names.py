import os

import pytest

from classifier.data.class_names import check_same_classes, read_class_names


def test_class_lists_must_agree_in_order():
    check_same_classes("ab", "ab", "x")
    with pytest.raises(ValueError, match=r"^x\b.*\b2\b.*\b3\b"):
        check_same_classes("ab", "abc", "x")
    with pytest.raises(ValueError, match=r"^x\b.*\b0\b.*'a'.*'b'"):
        check_same_classes("ab", "ba", "x")


def test_names_are_the_lines_of_a_file(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("ant \nb\u00e4r\n\n", encoding="utf-8")
    assert read_class_names(str(path)) == ("ant", "b\u00e4r")


@pytest.mark.parametrize(
    "content",
    [b"ant\nant\n", b"ant\n", b"", b"ant\nb\xe4r\n", b"ant\n\nbee\n", b"\nant\nbee\n"],
)
def test_class_names_must_be_several_and_different(tmp_path, content):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        read_class_names(str(path))


def test_class_names_are_not_read_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "names.txt")
    with pytest.raises(ValueError, match=r"names\.txt"):
        read_class_names(str(tmp_path / "names.txt"))
