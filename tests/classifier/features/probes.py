"""Random heads, and classifiers made of features and a head."""

import numpy as np

from classifier.export.facts import Evaluation
from classifier.export.head import Head
from classifier.features.source import describe
from stage import artifact
from tests.conftest import CLASS_NAMES

EVALUATION = Evaluation(num_examples=4, num_correct=2, cross_entropy=1.0)


def make_head(size, num_classes=3, *, seed=2, normalize=False):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(size, num_classes)).astype(np.float32)
    return Head(kernel, rng.normal(size=num_classes).astype(np.float32), normalize)


def export(source, directory, head=None, *, class_names=CLASS_NAMES, **more):
    """Writes a classifier, complete; with a random head if none is given."""
    artifact.start_or_resume(directory, describe(source))
    source.export(
        head or make_head(source.size),
        directory,
        class_names=class_names,
        evaluation=EVALUATION,
        **more,
    )
    artifact.complete(directory, seconds=0.0)
    return directory
