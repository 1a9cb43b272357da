"""The page, the catalog and the tests name the same faults."""

import importlib
import pathlib
import re

from stage import status
from tests.faults import catalog, endings, page


def test_every_fault_of_the_catalog_is_held_by_a_test():
    for path in pathlib.Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"{__package__}.{path.stem}")
    names = [fault.name for fault in catalog.FAULTS]
    assert len(names) == len(set(names)) >= 140
    assert set(names) == page.held


def test_the_page_is_up_to_date():
    content = page.PATH.read_text()
    assert page.update(content) == content


def test_the_page_and_the_catalog_have_every_status():
    known = {text for name, text in vars(status).items() if name.isupper()}
    section = page.PATH.read_text().partition("## Statuses")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.M)) == known
    assert {status.OK, *endings.STATUSES} == known
