"""Holding out labeled images."""

import csv

import pytest

from stage import artifact, cli
from workflow import split


@pytest.fixture
def labeled(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "labeled" / name).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "labeled" / name / f"{number}.png").write_text(name)
    return tmp_path / "labeled"


def make(labeled, output, *flags):
    words = [f"--labeled={labeled}", f"--output={output}", *flags]
    assert cli.call(split.main, split.FLAGS, words) == 0
    return {
        name: list(csv.DictReader((output / f"{name}.csv").read_text().splitlines()))
        for name in ("labeled", "evaluation")
    }


def test_a_fifth_of_each_class_is_held_out(labeled, tmp_path):
    tables = make(labeled, tmp_path / "split")
    counts = {
        name: sorted(row["label"] for row in rows) for name, rows in tables.items()
    }
    assert counts == {"labeled": ["a"] * 4 + ["b"] * 4, "evaluation": ["a", "b"]}
    paths = {row["path"] for rows in tables.values() for row in rows}
    assert len(paths) == 10
    assert all((tmp_path / "split" / path).exists() for path in paths)


def test_images_that_were_replaced_make_another_split(labeled, tmp_path):
    """What reads the tables, whose text is the same, is stale by the config."""
    before = make(labeled, tmp_path / "first")
    (labeled / "a" / "1.png").write_text("another image")
    assert make(labeled, tmp_path / "second") == before
    configs = [artifact.read_config(tmp_path / name) for name in ("first", "second")]
    assert configs[0] != configs[1]
