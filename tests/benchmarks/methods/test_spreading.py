import numpy as np
import pytest
from PIL import Image

from benchmarks.methods import draws, spreading


def test_a_row_has_the_class_of_most_of_its_neighbors():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(200, 5))
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    labels = rng.integers(4, size=200)
    queries = known[:20] + rng.normal(scale=0.01, size=(20, 5))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    expected = []
    for query in queries:
        cosines = [float(query @ row) for row in known]
        nearest = sorted(range(200), key=lambda n: -cosines[n])[: spreading.NEIGHBORS]
        votes = [sum(cosines[n] for n in nearest if labels[n] == c) for c in range(4)]
        expected.append(votes.index(max(votes)))
    found = spreading.predict(queries, known, np.eye(4)[labels])
    np.testing.assert_array_equal(found, expected)


def test_labels_spread_to_what_they_reach():
    rows = np.float32([[1, 0], [0.8, 0.6], [0.6, 0.8], [-1, 0]])
    found = spreading.spread_labels(rows, np.array([2, -1, 0, -1]), num_classes=4)
    np.testing.assert_array_equal(
        found[[0, 2, 3]], np.eye(4)[[2, 0, 1]] * [[1], [1], [0]]
    )
    assert found[1].sum() == pytest.approx(1)
    assert found[1, 0] > found[1, 2] > found[1, 1] == found[1, 3] == 0


def test_pixels_of_images_that_can_be_read_are_spread_over(tmp_path):
    """Two gray levels, images of several sizes, and files that are no images."""
    levels, sizes = {"dark": 60, "light": 190}, [(28, 28), (30, 24)]
    rng = np.random.default_rng(0)
    for name, level in levels.items():
        for split, count in (("labeled", 2), ("test", 4), ("all", 12)):
            folder = tmp_path / split / ("" if split == "all" else name)
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                size = sizes[number % 2]
                pixels = (level + rng.integers(-40, 40, (*size, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}{number}.png")
    (tmp_path / "all" / "text.png").write_text("no image")
    png = (tmp_path / "all" / "dark0.png").read_bytes()
    (tmp_path / "all" / "cut.png").write_bytes(png[:-100])
    draw = draws.prepare(f"folder:{tmp_path}#1", tmp_path, labels_per_class=0, seed=1)
    assert spreading.spread_over_pixels(draw) == 1.0
    labeled = tmp_path / "labeled"
    for old, new in (("dark", "other"), ("light", "dark"), ("other", "light")):
        (labeled / old).rename(labeled / new)
    assert spreading.spread_over_pixels(draw) == 0.0
