"""Where reports are written: `report.json`, `report.html`, and one on several runs."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable

from stage import artifact
from workflow.report.analysis import figures, seeds, verdict
from workflow.report.rendering import page

REPORT = "report.json"


def report_on(run: pathlib.Path, output: pathlib.Path | None = None) -> list[str]:
    """Writes both forms of the report, and returns the verdict as lines.

    Args:
        run: Directory of the run.
        output: The JSON file; the run's own if not given. The page stands beside it,
            and ends in .html.

    Raises:
        ValueError: If the JSON file ends in something else, or the run is broken.
        FileNotFoundError: If a stage has not ended.
    """
    output = output or run / REPORT
    if output.suffix != ".json":
        raise ValueError(f"expected a file that ends in .json, got {output}")
    content = verdict.make_report(run)
    found = figures.read_figures(run, content)
    content = figures.to_json(found, content)
    html = output.with_suffix(".html")
    samples = figures.read_samples(run, found)
    text = page.make_page(found, samples, json_name=output.name)
    artifact.write_bytes(html, text.encode())
    artifact.write_json(output, content)
    return [*verdict.tell(content), f"  {html}"]


def compare(runs: Iterable[pathlib.Path], output: pathlib.Path) -> list[str]:
    """Writes what several reports say together, and returns it as lines."""
    content = seeds.summarize([json.loads((run / REPORT).read_text()) for run in runs])
    artifact.write_json(output, content)
    return list(seeds.format_lines(content))
