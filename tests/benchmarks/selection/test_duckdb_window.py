import pytest

from benchmarks.selection.goals import DUCKDB
from benchmarks.selection.task import SelectionTask

pytest.importorskip("duckdb", reason="the extra `bench` is not installed")


@pytest.mark.parametrize("images_per_class", [1, 100, 2000])
@pytest.mark.parametrize("way", DUCKDB)
def test_duckdb_finds_what_sorting_finds(
    way, images_per_class, directory, find_by_sorting
):
    from benchmarks.selection import duckdb_window

    task = SelectionTask(way, str(directory), images_per_class)
    assert sorted(duckdb_window.run(task)) == find_by_sorting(images_per_class)
