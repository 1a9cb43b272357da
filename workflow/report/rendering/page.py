"""Renders a report as one HTML file, without scripts and external content.

A Content-Security-Policy enforces this. It allows a single style sheet, by its hash, so
that text from outside cannot style the page either. Jinja2 escapes every value.
"""

from __future__ import annotations

import base64
import collections
import functools
import hashlib
import importlib.resources
import shlex
from collections.abc import Iterable, Sequence

import jinja2
from markupsafe import Markup

from pseudo_label.selection.decision import funnel_title
from stage.text import printable_lines
from workflow.report.analysis.figures import Figures
from workflow.report.analysis.missing import Missing
from workflow.report.analysis.run_files import FinishedStage
from workflow.report.analysis.verdict import describe_below, describe_compute
from workflow.report.rendering import charts, contact_sheets, text
from workflow.report.rendering.marks import Axis
from workflow.samples.tiles import Sample

STYLE = "report.css"
_ARGUMENT_COLUMNS = 300


def make_page(
    figures: Figures, samples: Sequence[Sample] | Missing, *, json_name: str
) -> str:
    """Returns the page.

    `samples` are the tiles of the last round's contact sheets, and `json_name` is the
    file with the same figures beside the page.
    """
    style = importlib.resources.files(__package__).joinpath(STYLE).read_text()
    sheets = (
        samples if isinstance(samples, Missing) else contact_sheets.arrange(samples)
    )
    page = environment().get_template("page.html")
    content = page.render(
        figures=figures,
        sheets=sheets,
        json_name=json_name,
        style=Markup(style),  # The content of a style element is not escaped.
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    return printable_lines(content)


@functools.cache
def environment() -> jinja2.Environment:
    """Returns the templates with their filters."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("workflow.report.rendering"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.globals.update(axis=Axis, charts=charts)
    found.tests.update(
        missing=lambda value: isinstance(value, Missing), steep=charts.is_steep
    )
    for function in (
        *(text.shorten, text.coordinate, text.count, text.percent, text.between),
        *(text.points, contact_sheets.data_address, describe_below),
        *(command_line, versions, funnel_title, describe_compute),
    ):
        found.filters[function.__name__] = function
    return found


def command_line(arguments: Iterable[str]) -> str:
    """Returns a command for the shell, with a line for each flag."""
    lines = ["python"]
    for argument in arguments:
        quoted = text.shorten(shlex.quote(argument), _ARGUMENT_COLUMNS)
        if argument.startswith("--"):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    return " \\\n    ".join(lines)


def versions(stages: Sequence[FinishedStage]) -> list[str]:
    """Returns packages with their versions, and the number of stages if not all."""
    counts = collections.Counter(
        f"{package} {version}"
        for stage in stages
        for package, version in stage.versions.items()
    )
    return [
        name if count == len(stages) else f"{name} ({count} of {len(stages)} stages)"
        for name, count in counts.items()
    ]
