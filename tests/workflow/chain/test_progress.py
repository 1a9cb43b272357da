import io
import sys

import pytest

from workflow.chain.progress import ChainProgress


def test_without_a_terminal_there_are_lines_alone(capsys):
    lines = []
    with ChainProgress(lines.append, total=2, has_bar=False) as progress:
        progress.begin("a")
        progress.line("a: works")
        progress.end("a")
        progress.end("b")
    assert lines == ["a: started", "a: works"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("closes_twice", [True, False])
def test_on_a_terminal_a_bar_stays_below_the_lines(monkeypatch, closes_twice):
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    shown = []

    def log(line):
        shown.append(terminal.getvalue().rpartition("\r")[2].strip())
        terminal.write(f"{line}\n")

    with ChainProgress(log, total=3, has_bar=True) as progress:
        progress.begin("a")
        progress.begin("b")
        progress.line("a: works")
        text = terminal.getvalue()
        progress.end("a")
        last = terminal.getvalue()
        if closes_twice:
            progress.close()
    assert text.rstrip().endswith("0 of 3 stages: a, b")
    assert last.rstrip().endswith("1 of 3 stages: b")
    assert shown == ["", "", ""]  # The bar is away while a line is written.
    assert terminal.getvalue().rpartition("\r")[2].strip() == ""
