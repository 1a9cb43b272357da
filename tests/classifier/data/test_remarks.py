import pytest

from classifier.data import remarks
from classifier.data.inspection import inspect
from classifier.data.sources import open_source
from tests.classifier.data.test_orientation import encode
from tests.images import blank, random_images, write_folder


def describe(labeled, evaluation, side=32):
    sources = (inspect(open_source(f"folder:{root}")) for root in (labeled, evaluation))
    return list(remarks.describe(*sources, side=side))


@pytest.fixture
def folders(tmp_path):
    labeled, evaluation = tmp_path / "labeled", tmp_path / "test"
    images = random_images(12)
    write_folder(labeled, images[:6], [0, 1] * 3)
    write_folder(evaluation, images[6:], [0, 1] * 3)
    return labeled, evaluation


def test_ordinary_images_have_no_remark(folders):
    assert describe(*folders) == []


def test_test_images_that_are_trained_on_are_counted(folders):
    labeled, evaluation = folders
    (line,) = describe(labeled, labeled)
    assert line.startswith("warning: 6 of 6 images")
    write_folder(evaluation, random_images(2), [0, 1])
    (line,) = describe(labeled, evaluation)
    assert line.startswith("warning: 2 of ")


def test_images_that_are_stored_turned_are_counted(folders):
    labeled, evaluation = folders
    (labeled / "a" / "turned.jpg").write_bytes(encode("JPEG", 8))
    (line,) = describe(labeled, evaluation)
    assert line.startswith(f"warning: 1 of 7 images of folder:{labeled}")


@pytest.mark.parametrize(("width", "is_said"), [(256, False), (288, True)])
def test_images_far_larger_than_the_input_are_said(tmp_path, folders, width, is_said):
    write_folder(tmp_path / "large", [blank(width, 400), blank(width, 300)], [0, 1])
    lines = describe(tmp_path / "large", folders[1])
    assert len(lines) == is_said
    if is_said:
        assert f"{width} px" in lines[0]
        assert "to 32 px" in lines[0]
