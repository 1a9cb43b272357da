"""The report as one HTML file: no script, and nothing that is not in it.

A content security policy holds the browser to that. The only style is the sheet whose
hash the policy names, so no name from outside could style the page either.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import importlib.resources
import shlex
import urllib.parse
from collections.abc import Callable, Sequence

from workflow.report.analysis.figures import Figures
from workflow.report.analysis.round_figures import Missing
from workflow.report.analysis.run_files import Stage
from workflow.report.rendering import (
    charts,
    contact_sheets,
    inline_charts,
    label_sections,
    training_sections,
)
from workflow.report.rendering.components import details, note, table, tell_missing
from workflow.report.rendering.markup import Markup, element, join, name, shorten
from workflow.report.rendering.verdict_section import verdict_section
from workflow.samples.choice import Sample

STYLE = "report.css"
_SECTIONS: tuple[tuple[str, str, Callable[[Figures], Markup]], ...] = (
    ("funnel", "Where the images went", label_sections.funnel),
    (
        "reliability",
        "Is the teacher right as often as it is sure?",
        label_sections.reliability,
    ),
    ("confidences", "Confidence of all images", label_sections.confidences),
    ("classes", "Classes before and after", label_sections.classes),
    ("precision", "Precision by class", label_sections.class_precision),
    ("coverage", "Precision against coverage", label_sections.coverage),
    ("what-if", "What other settings would keep", label_sections.what_if),
    ("learning", "Learning curves", training_sections.learning),
    ("confusions", "Confusions", training_sections.confusions),
    ("churn", "Changes of mind", training_sections.churn),
)
_SHEETS = ("sheets", "Contact sheets")
_ORIGIN = ("origin", "Where all this comes from")
_ARGUMENT_COLUMNS = 300
#: Of what is named by a path.
_PATH_COLUMNS = 40


def make_page(
    figures: Figures, samples: Sequence[Sample] | Missing, *, json_name: str
) -> str:
    """Returns the page.

    Args:
        figures: What it tells.
        samples: Of the last round, to look at.
        json_name: Of the file beside it that holds the same figures.
    """
    style = importlib.resources.files(__package__).joinpath(STYLE).read_text()
    drawn = [_section(slug, title, draw(figures)) for slug, title, draw in _SECTIONS]
    body = element(
        "body",
        charts.definitions(),
        element("header", "Noisy Student RS, report on ", name(figures.run)),
        element(
            "main",
            verdict_section(figures),
            _contents(),
            drawn,
            _section(*_SHEETS, _sheets(figures, samples)),
            _section(*_ORIGIN, _origin(figures.stages, json_name)),
        ),
    )
    page = element("html", _head(figures, style), body, lang="en")
    return f"<!doctype html>\n{page}\n"


def _head(figures: Figures, style: str) -> Markup:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{figures.headline}: {shorten(figures.run)}"),
        element("link", rel="icon", href="data:,"),
        # A style element's content is no markup: it ends at its end tag alone.
        element("style", Markup(style)),
    )


def _contents() -> Markup:
    entries = [(slug, title) for slug, title, _ in _SECTIONS]
    links = [
        element("li", element("a", title, href=f"#{slug}"))
        for slug, title in (*entries, _SHEETS, _ORIGIN)
    ]
    return element("nav", element("ul", links), aria_label="Contents")


def _section(slug: str, title: str, content: Markup) -> Markup:
    return element("section", element("h2", title), content, id=slug)


def _sheets(figures: Figures, samples: Sequence[Sample] | Missing) -> Markup:
    if isinstance(samples, Missing):
        return tell_missing(samples)
    return join(
        [
            note(
                f"Images of round {len(figures.rounds)}, and what they are taken for."
            ),
            contact_sheets.make_sheets(samples, figures.class_names),
        ]
    )


def _origin(stages: Sequence[Stage], json_name: str) -> Markup:
    most = max(one.seconds for one in stages)
    total = sum(one.seconds for one in stages)
    times = table(
        ("stage", "", "seconds", "seed"),
        [
            (
                name(one.name, _PATH_COLUMNS),
                inline_charts.bar(one.seconds, most),
                f"{one.seconds:,.1f}",
                "" if one.seed is None else str(one.seed),
            )
            for one in stages
        ],
    )
    commands = [
        element(
            "li",
            name(one.name, _PATH_COLUMNS),
            element("pre", element("code", _command(one))),
        )
        for one in stages
    ]
    return join(
        [
            element("p", f"{total:,.0f} seconds of stages, with {_versions(stages)}."),
            element("figure", times, class_="wide"),
            note(
                "The same figures stand in ",
                element("a", json_name, href=urllib.parse.quote(json_name)),
                ", beside this file.",
            ),
            details("Command lines", element("ul", commands, class_="commands")),
            details("SHA-256 of what was made, and of what", _fingerprints(stages)),
        ]
    )


def _command(stage: Stage) -> str:
    """Returns the command line, a line for each flag."""
    lines = ["python"]
    for argument in stage.command:
        quoted = shorten(shlex.quote(argument), _ARGUMENT_COLUMNS)
        if argument.startswith("--"):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    return " \\\n    ".join(lines)


def _versions(stages: Sequence[Stage]) -> str:
    """Returns each version, and of how many stages where not of all."""
    counts = collections.Counter(
        (package, version)
        for stage in stages
        for package, version in stage.versions.items()
    )
    known = [
        f"{package} {version}"
        + (f" ({count} of {len(stages)} stages)" if count < len(stages) else "")
        for (package, version), count in counts.items()
    ]
    return ", ".join(known)


def _fingerprints(stages: Sequence[Stage]) -> Markup:
    rows = [
        (
            name(one.name, _PATH_COLUMNS),
            name(what, _PATH_COLUMNS),
            element("code", digest),
        )
        for one in stages
        for what, digest in one.fingerprints.items()
    ]
    return table(("stage", "of", "SHA-256"), rows)
