import csv
import pathlib

import pytest

from benchmarks.methods import draws
from examples.image_folders import writing
from tests import images


@pytest.fixture
def folders(tmp_path):
    """Two folders of one name whose pictures have the same names."""
    pictures = iter(images.random_images(12))
    found = []
    for parent in ("a", "b"):
        folder = tmp_path / parent / "photos"
        drawn = {
            name: next(pictures)
            for name in (
                *("labeled/ant/1.png", "labeled/bee/1.png"),
                *("test/ant/1.png", "test/bee/1.png", "all/1.png", "all/2.png"),
            )
        }
        for name, picture in drawn.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(picture)
        with open(folder / "truth.csv", "w", newline="") as file:
            rows = [("name", "class"), ("1.png", "ant"), ("2.png", "")]
            csv.writer(file).writerows(rows)
        found.append((f"folder:{folder}", drawn))
    return found


def test_true_labels_have_all_pictures_of_their_folder(folders, tmp_path):
    for data, drawn in folders * 2:  # Also where they are already.
        draw = draws.prepare(data, tmp_path / "out", labels_per_class=0, seed=1)
        assert (draw.num_images, draw.count(draw.labeled)) == (2, 2)
        truth = tmp_path / "out" / "truth" / draws.folder_name(data)
        assert draw.truth == f"folder:{truth}"
        contents = {
            name: {path.read_bytes() for path in (truth / name).iterdir()}
            for name in draw.class_names
        }
        assert contents == {
            "ant": {drawn["labeled/ant/1.png"], drawn["all/1.png"]},
            "bee": {drawn["labeled/bee/1.png"]},
        }


@pytest.mark.parametrize(
    "row", [("1.png", "../ant"), ("../labeled/ant/1.png", "ant"), ("3.png", "bee")]
)
def test_rows_that_are_no_picture_and_class_are_refused(folders, tmp_path, row):
    data, _ = folders[0]
    truth = pathlib.Path(data.removeprefix("folder:")) / "truth.csv"
    for header in (("name", "class"), ("file", "label")):
        with open(truth, "w", newline="") as file:
            csv.writer(file).writerows([header, row])
        with pytest.raises(ValueError, match="line 2"):
            draws.prepare(data, tmp_path / "out", labels_per_class=0, seed=1)


def test_folders_are_those_that_the_examples_write():
    """Neither of both packages may import the other."""
    assert draws.SPLITS == writing.SPLITS
    assert draws.TRUTH == writing.TRUTH


def test_a_folder_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert draws.normalize("folder:photos") == f"folder:{tmp_path}/photos"
    assert draws.normalize("digits") == "digits"
