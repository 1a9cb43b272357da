import dataclasses

import pytest

from benchmarks.pretrained import figures
from benchmarks.pretrained.figures import DrawFigures

FIGURES = DrawFigures(
    data="surfaces",
    seed=1,
    settings=(),
    teacher=0.75,
    reference=0.88,
    probe=0.88,
    student=0.875,
    control=0.8,
    kept=2_000,
    estimated_precision=None,
    precision=0.95,
)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "results.jsonl"
    assert figures.read(path) == []
    other = dataclasses.replace(FIGURES, seed=2, settings=("image.size=64",))
    for each in (FIGURES, other):
        figures.append(path, each)
    assert figures.read(path) == [FIGURES, other]
    path.write_text("{}\n")
    with pytest.raises(ValueError, match="line 1"):
        figures.read(path)


def test_differences_are_paired():
    """Over the control 7 and 9 points; t of one degree of freedom is 12.706."""
    other = dataclasses.replace(FIGURES, control=0.7, student=0.79, precision=0.97)
    lines = list(figures.describe([dataclasses.replace(FIGURES, control=0.805), other]))
    (line,) = (line for line in lines if "student over control" in line)
    assert line.split()[3:] == ["+8.00", "(-4.71", "to", "+20.71),", "2", "of", "2"]
    assert lines[-1].endswith("96.00 % are right")


def test_what_was_not_trained_is_not_described(tmp_path):
    path = tmp_path / "results.jsonl"
    bare = dataclasses.replace(FIGURES, seed=2, teacher=None, control=None)
    figures.append(path, bare)
    assert figures.read(path) == [bare]
    assert not any("control" in line for line in figures.describe([bare]))
    lines = list(figures.describe([FIGURES, bare]))
    assert any(line.split() == ["control", "80.00"] for line in lines)
    assert any(line.endswith("1 of 1") for line in lines if "over control" in line)


def test_one_draw_has_no_interval():
    assert any("nan" in line for line in figures.describe([FIGURES]))
