import os

import pytest

from classifier.data.class_names import (
    check_class_names,
    check_same_classes,
    read_class_names,
)


def test_class_lists_must_agree_in_order():
    check_same_classes("ab", "ab", "x")
    with pytest.raises(ValueError, match=r"^x\b.*\b2\b.*\b3\b"):
        check_same_classes("ab", "abc", "x")
    with pytest.raises(ValueError, match="expected 3 classes, got 2, no 'b'"):
        check_same_classes("abc", "ac", "x")
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


def test_large_files_of_class_names_are_not_read(tmp_path):
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    os.truncate(tmp_path / "names.txt", 2**31)
    with pytest.raises(ValueError, match=r"names\.txt.*2,147,483,648"):
        read_class_names(str(tmp_path / "names.txt"))


def test_a_message_does_not_repeat_a_long_name():
    check_class_names(["ant", "b" * 1000], "x")
    with pytest.raises(ValueError, match=r"^x\b.*1,000") as refusal:
        check_class_names(["ant", "b" * 5_000_000], "x")
    assert len(str(refusal.value)) < 500


def test_class_names_are_not_read_from_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "names.txt")
    with pytest.raises(ValueError, match=r"names\.txt"):
        read_class_names(str(tmp_path / "names.txt"))
