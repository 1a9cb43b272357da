"""Writes `report.json` and `report.html` of a run, or compares several runs."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Iterable
from typing import TypeVar

from stage import artifact, typed_json
from workflow.report.analysis import figures, seeds, verdict
from workflow.report.rendering import page

REPORT = "report.json"
ReportT = TypeVar("ReportT")


def report_on(run: pathlib.Path, output: pathlib.Path | None = None) -> list[str]:
    """Writes the JSON file and the page, and returns the lines to print.

    The JSON file is RUN/report.json by default. The page is written beside it, with the
    suffix .html.

    Raises:
        ValueError: If the JSON file has another suffix, or the run is broken.
        FileNotFoundError: If a stage has not ended.
    """
    output = output or run / REPORT
    if output.suffix != ".json":
        raise ValueError(f"expected a file that ends in .json, got {output}")
    content = verdict.make_report(run)
    found = figures.read_figures(run, content)
    content = figures.to_json(found, content)
    samples = figures.read_samples(run, found)
    html = page.make_page(found, samples, json_name=output.name)
    output.parent.mkdir(parents=True, exist_ok=True)
    artifact.write_bytes(output.with_suffix(".html"), html.encode())
    artifact.write_json(output, content)
    return [*verdict.format_lines(content), f"  {output.with_suffix('.html')}"]


def read(run: pathlib.Path, kind: type[ReportT]) -> ReportT:
    """Returns the figures of a run's report; FileNotFoundError without one."""
    if not (run / REPORT).exists():
        command = shlex.join(["noisy-student", "run", str(run)])
        raise FileNotFoundError(f"{run} has no {REPORT}; `{command}` goes on")
    return typed_json.read(run / REPORT, kind)


def compare(
    runs: Iterable[pathlib.Path], output: pathlib.Path | None = None
) -> list[str]:
    """Compares several runs, into a JSON file if one is named.

    Returns the lines to print.
    """
    found = [(str(run), read(run, seeds.Report)) for run in runs]
    content = seeds.summarize(found)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        artifact.write_json(output, content)
    return list(seeds.format_lines(content))
