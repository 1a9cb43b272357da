import pytest

from classifier.data import class_names


def test_class_lists_must_agree_in_order():
    class_names.check_same_classes("ab", "ab", "x")
    with pytest.raises(ValueError, match="x: expected 2 classes, got 3"):
        class_names.check_same_classes("ab", "abc", "x")
    with pytest.raises(ValueError, match="x: expected class 0 to be 'a', got 'b'"):
        class_names.check_same_classes("ab", "ba", "x")


@pytest.mark.parametrize("text", ["ant\nant\n", "ant\n"])
def test_class_names_must_be_several_and_different(tmp_path, text):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(ValueError, match="two or more different names"):
        class_names.read_class_names(str(tmp_path / "names.txt"))
