"""Goals of the propagation job."""

from __future__ import annotations

from benchmarks.measuring.goals import Verdict
from benchmarks.measuring.turns import Figures

#: Number of images from which the goals of seconds and memory apply.
FULL_IMAGES = 10_000_000
#: Goals that apply from there only.
FULL_GOALS = ("seconds", "peak_gb")
#: Lower bounds by figure, and upper ones.
AT_LEAST = {"same_class": 0.999, "cells_same_class": 0.9}
AT_MOST = {
    "difference_millionths": 100.0,
    "cells_accuracy_loss": 0.01,
    "seconds": 3600.0,
    "peak_gb": 20.0,
}


def verdicts(figures: Figures, *, images: int) -> list[Verdict]:
    """Returns figures and their goals; `images` is the largest number of images."""
    is_small = images < FULL_IMAGES
    return [
        Verdict(
            name,
            figure,
            at_least=AT_LEAST.get(name),
            at_most=AT_MOST.get(name),
            exemption="(too few images)" if is_small and name in FULL_GOALS else "",
        )
        for name, figure in figures.items()
    ]
