"""Noisy Student RS from Python, as in a notebook.

    import noisy_student as ns

    run = ns.run("birds/run.toml")        # what `noisy-student run` does
    run = ns.open_run("birds/run")        # a run that is there
    run.predictions.to_pandas()
    run.selection.funnel
    run.student.predict(["robin.jpg"])
    ns.Classifier("birds/run/round-1/student").predict("photos/")

Everything else is a command: see `noisy-student --help`.
"""

from __future__ import annotations

from noisy_student.classifiers import ImageClassifier, ImagePredictions
from noisy_student.runs import FinishedRun, PredictionTable, demo, open_run, run

#: A trained classifier by its directory.
Classifier = ImageClassifier

__all__ = [
    "Classifier",
    "FinishedRun",
    "ImageClassifier",
    "ImagePredictions",
    "PredictionTable",
    "demo",
    "open_run",
    "run",
]
