import csv

import numpy as np
import pytest
from PIL import Image

from classifier.data.sources import open_source
from examples.image_folders import writing

CLASSES = ("ant", "bee")


def draw(split, label, rng):
    """A square whose gray level is of the class, with a little noise."""
    gray = 60 * (label + 1) + rng.integers(10)
    return Image.fromarray(np.full((8, 8), gray, np.uint8))


def write(directory, *, seed=1, **sizes):
    sizes = {"labeled": 2, "test": 3, "unlabeled": (4, 5, 6), **sizes}
    writing.write(directory, CLASSES, draw, writing.FolderSizes(**sizes), seed=seed)
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*.jpg")
    }


def read_truth(directory):
    """The class of each file in `all`."""
    with open(directory / writing.TRUTH, newline="") as lines:
        return {row["name"]: row["class"] for row in csv.DictReader(lines)}


def test_the_folders_open_as_labeled_sources(tmp_path):
    write(tmp_path)
    for split, count in (("labeled", 4), ("test", 6)):
        source = open_source(f"folder:{tmp_path}/{split}")
        assert source.labeled_class_names() == CLASSES
        assert source.num_examples == count


def test_the_truth_names_the_class_that_each_unlabeled_picture_shows(tmp_path):
    write(tmp_path)
    truth = read_truth(tmp_path)
    assert set(truth) == {path.name for path in (tmp_path / "all").iterdir()}
    grays = {"ant": 60, "bee": 120, writing.NO_CLASS: 180}
    for name, shown in truth.items():
        gray = np.asarray(Image.open(tmp_path / "all" / name)).mean()
        assert grays[shown] - 3 <= gray < grays[shown] + 13
    assert sorted(truth.values()).count("bee") == 5
    assert sorted(truth.values()).count(writing.NO_CLASS) == 6


def test_more_labels_keep_the_pictures_of_fewer(tmp_path):
    few = write(tmp_path / "few")
    many = write(tmp_path / "many", labeled=5)
    for split in ("test", "all"):
        of_few = {name: few[name] for name in few if name.startswith(split)}
        assert of_few == {name: many[name] for name in many if name.startswith(split)}
    for folder in ("labeled/ant", "labeled/bee"):
        contents = [
            [files[name] for name in files if name.startswith(folder)]
            for files in (few, many)
        ]
        assert len(contents[1]) == 5
        assert set(contents[0]) <= set(contents[1])


@pytest.mark.parametrize("split", ["labeled", "test", "all"])
def test_names_say_nothing_about_classes(tmp_path, split):
    write(tmp_path, labeled=50, test=50, unlabeled=(50, 50, 0))
    names = {path.name for path in (tmp_path / split).rglob("*.jpg")}
    others = [s for s in writing.SPLITS if s != split]
    assert not names & {
        path.name for other in others for path in (tmp_path / other).rglob("*.jpg")
    }
    if split == "all":
        in_order = [shown for _, shown in sorted(read_truth(tmp_path).items())]
        assert 10 < in_order[:50].count("ant") < 40


def test_the_seed_decides_everything(tmp_path):
    first = write(tmp_path / "first")
    assert write(tmp_path / "again") == first
    assert set(write(tmp_path / "other", seed=2)) != set(first)
