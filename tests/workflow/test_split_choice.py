"""Which images `workflow.split` holds out."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.commands import call
from tests.images import random_images, write_folder
from workflow.split import choose


def images(sizes, root="images"):
    return [
        (f"{root}/{name}/{number}.png", name)
        for name, size in sizes.items()
        for number in range(size)
    ]


SIZES = st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 30), min_size=1)


@given(SIZES, st.floats(0, 0.9), st.integers(0, 9))
def test_every_class_has_images_on_both_sides(sizes, share, seed):
    held_out = choose(images(sizes), share=share, seed=seed)
    found = collections.Counter(path.split("/")[1] for path in held_out)
    for name, size in sizes.items():
        assert 1 <= found[name] <= size - 1
        assert abs(found[name] - share * size) <= 1 or found[name] in (1, size - 1)


@given(SIZES, st.randoms())
def test_neither_the_order_nor_the_place_of_the_images_decides(sizes, random):
    listed = images(sizes)
    random.shuffle(listed)
    expected = choose(images(sizes), share=0.3, seed=1)
    assert choose(listed, share=0.3, seed=1) == expected
    moved = choose(images(sizes, "elsewhere"), share=0.3, seed=1)
    assert {path.replace("elsewhere", "images") for path in moved} == expected


def test_another_seed_holds_out_others():
    listed = images({"a": 100})
    first, second = (choose(listed, share=0.5, seed=seed) for seed in (1, 2))
    assert len(first) == len(second) == 50
    assert first != second


def test_an_image_that_is_added_moves_few_others():
    before = choose(images({"a": 100}), share=0.2, seed=1)
    after = choose(images({"a": 101}), share=0.2, seed=1)
    assert len(before ^ after) <= 2


def test_a_class_of_one_image_is_refused():
    with pytest.raises(ValueError, match="'b' has one image"):
        choose(images({"a": 5, "b": 1}), share=0.2, seed=1)


def test_what_is_no_folder_is_refused(tmp_path):
    ended = call(
        *("workflow.split", f"--labeled=csv:{tmp_path}/x.csv"),
        f"--output={tmp_path}/split",
    )
    assert "expected a folder" in f"{ended.stderr}{ended.returncode}"
    assert not (tmp_path / "split").exists()


def test_both_tables_are_all_images(tmp_path):
    write_folder(tmp_path / "in", random_images(10), [0, 1] * 5)
    ended = call(
        *("workflow.split", f"--labeled={tmp_path}/in", "--share=0.4"),
        f"--output={tmp_path}/split",
    )
    assert ended.returncode == 0, ended.stderr
    rows = {
        name: (tmp_path / "split" / f"{name}.csv").read_text().splitlines()[1:]
        for name in ("labeled", "evaluation")
    }
    assert (len(rows["labeled"]), len(rows["evaluation"])) == (6, 4)
    paths = {row.partition(",")[0] for part in rows.values() for row in part}
    assert len(paths) == 10
    assert all((tmp_path / "split" / path).exists() for path in paths)
