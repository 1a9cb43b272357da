import pytest

from classifier.data import image_sides
from classifier.data.sources import open_source
from tests.images import blank, write_folder, write_records


def test_the_shorter_side_counts(tmp_path):
    sizes = [(40, 100), (50, 50), (300, 60)]
    write_folder(tmp_path / "ant", [blank(*size) for size in sizes])
    write_folder(tmp_path / "bee", [b"no image", blank(70, 80)])
    source = open_source(f"folder:{tmp_path}")
    assert sorted(image_sides.shorter_sides(source)) == [40, 50, 60, 70]
    assert image_sides.median_shorter_side(source) == 55


def test_a_sample_of_many_files_is_measured(tmp_path):
    small, large = blank(32, 32), blank(90, 96)
    write_folder(tmp_path / "a", [small] * 200)
    write_folder(tmp_path / "b", [large] * 300)
    sides = list(image_sides.shorter_sides(open_source(f"folder:{tmp_path}")))
    assert 40 <= len(sides) <= image_sides.SAMPLE
    assert sides.count(90) > sides.count(32) > 0


def test_images_of_records_are_measured(tmp_path):
    write_records(tmp_path / "part-0", [blank(48, 64)] * 300)
    source = open_source(f"tfrecord:{tmp_path}/part-*")
    assert list(image_sides.shorter_sides(source)) == [48] * image_sides.SAMPLE


def test_a_source_without_images_is_refused(tmp_path):
    write_folder(tmp_path / "ant", [b"no image"])
    with pytest.raises(ValueError, match="found none"):
        image_sides.median_shorter_side(open_source(f"folder:{tmp_path}"))
