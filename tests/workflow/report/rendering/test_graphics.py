"""The graphics in the cells of a table, `templates/graphics.html`."""

import re
import xml.etree.ElementTree as ET

from tests.workflow.report.rendering.pages import macro
from workflow.report.analysis.metrics import Interval


def draw(name, *values, **named):
    return ET.fromstring(macro("graphics.html", name)(*values, **named).strip())


def test_nonzero_values_are_visible():
    tree = draw("piece", 0, 1, 1e9, "first")
    assert tree.get("aria-hidden") == "true"
    assert float(tree.find("rect").get("width")) > 0
    tree = draw("piece", 5, 5, 10, "first")
    assert float(tree.find("rect").get("width")) == 0
    # At the right edge as well.
    rect = draw("piece", 1e9 - 1, 1e9, 1e9, "hatched").find("rect")
    assert float(rect.get("x")) + float(rect.get("width")) <= 100


def test_an_interval_is_on_its_axis():
    share = Interval(estimate=0.6, low=0.5, high=0.7)
    strip = macro("graphics.html", "interval")(share, 0.5, 0.9, reference=0.8)
    assert re.findall(r' d="([^"]+)"', strip) == ["M75 0V16", "M0 8H50", "M25 8h0"]


def test_of_two_bars_one_may_be_missing():
    assert len(draw("pair", 3, None, 3).findall("rect")) == 1
    both = draw("pair", 3, 0, 3).findall("rect")
    assert [float(bar.get("width")) for bar in both] == [100, 0]
    empty = draw("pair", 0, 0, 0).findall("rect")
    assert [float(bar.get("width")) for bar in empty] == [0, 0]
