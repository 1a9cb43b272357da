"""What a run sees of its sources: all that it can without opening them."""

import functools
import os
import shutil

import pytest

from workflow.chain.source_files import fingerprint


@pytest.fixture
def root(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/3.png", "one.csv", "x/1.tar", "x/2.tar"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(name)
    return tmp_path / "root"


def find(spec, root, data_dir=""):
    return fingerprint(spec.format(root), data_dir=data_dir, run=f"{root}/run")


def touch(root):
    os.utime(root / "a" / "1.png", ns=(0, 1))


def grow(root):
    with (root / "a" / "1.png").open("a") as file:
        file.write("x")


def add(root):
    (root / "a" / "3.png").touch()


def remove(root):
    (root / "a" / "1.png").unlink()


def rename(root):
    (root / "a" / "1.png").rename(root / "a" / "4.png")


def move(root):
    """Corrects a label."""
    (root / "a" / "1.png").rename(root / "b" / "1.png")


@pytest.mark.parametrize("change", [touch, grow, add, remove, rename, move])
@pytest.mark.parametrize("spec", ["folder:{}", "{}", "tfrecord:{}/*/*.png"])
def test_every_change_is_seen(root, spec, change):
    before = find(spec, root)
    assert before
    assert find(spec, root) == before
    change(root)
    assert find(spec, root) != before


@pytest.mark.parametrize("change", [touch, grow, remove])
@pytest.mark.parametrize("spec", ["csv:{}/list.csv", "{}/list.csv"])
@pytest.mark.parametrize("column", ["path", "image"])
def test_images_that_a_table_lists_are_compared(root, spec, column, change):
    rows = f"label,{column}\nx,a/1.png\ny,{root}/a/2.png\nz,gs://bin/3.png\n"
    (root / "list.csv").write_text(rows)
    find = functools.partial(
        fingerprint, spec.format(root), data_dir="", run="run", columns=("image",)
    )
    before = find()
    assert before
    change(root)
    assert find() != before


def test_images_of_a_table_may_be_moved_or_gone(root):
    (root / "list.csv").write_text("path\na/1.png\n")
    before = find("csv:{}/list.csv", root)
    moved = root.rename(root.with_name("moved"))
    assert find("csv:{}/list.csv", moved) == before
    shutil.rmtree(moved / "a")
    assert find("csv:{}/list.csv", moved) is None


@pytest.mark.parametrize(
    "spec", ["folder:{}/a", "{}/a", "tfds:{}/a:train[:10%]", "csv:{}/one.csv"]
)
def test_images_may_be_moved(root, spec):
    before = find(spec, root)
    assert before
    shutil.move(root, root.with_name("moved"))
    assert find(spec, root.with_name("moved")) == before


def test_a_plain_path_has_the_files_of_its_form(root):
    assert find("{}/a", root) == find("folder:{}/a", root)
    assert find("{}/one.csv", root) == find("csv:{}/one.csv", root)
    assert find("{}/x/*.tar", root) == find("webdataset:{}/x/*.tar", root)


def test_a_name_may_look_like_a_pattern(root):
    (root / "one.csv").rename(root / "[one].csv")
    for spec in ("csv:{}/[one].csv", "{}/[one].csv"):
        assert find(spec, root)


@pytest.mark.parametrize(
    "spec", ["folder:{}/c", "{}/c", "csv:{}/c.csv", "tfrecord:{}/*.x", "folder:{}/run"]
)
def test_there_may_be_no_files(root, spec):
    assert find(spec, root) == "" or "run" in spec


@pytest.mark.parametrize(
    "spec",
    [
        *("gs://bin/a", "folder:gs://bin/a", "hf:owner/name:train"),
        *("tfds:mnist:test", "folder:{}/run/images", "csv:{}/run/split/labeled.csv"),
    ],
)
def test_what_cannot_be_compared(root, spec):
    assert find(spec, root) is None


def test_a_dataset_may_be_in_the_directory_of_datasets(root):
    (root / "digits" / "x").mkdir(parents=True)
    (root / "digits" / "x" / "1").touch()
    assert find("tfds:digits/x:test", root, data_dir=str(root)) == find(
        "tfds:{}/digits/x:test", root
    )
