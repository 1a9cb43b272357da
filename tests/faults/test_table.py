"""The page and the tests name the same faults."""

import importlib
import pathlib

from tests.faults import page


def test_the_tests_hold_every_row_of_the_page_and_no_other():
    for path in pathlib.Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"{__package__}.{path.stem}")
    faults = [row.fault for row in page.read_rows()]
    assert sorted(faults) == sorted(page.held)
    assert len(faults) >= 40
