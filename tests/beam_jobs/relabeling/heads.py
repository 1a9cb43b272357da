"""Classifiers of which there is no more than a head, for made-up predictions."""

import dataclasses
import shutil

from classifier.data.config import ImageConfig
from classifier.export.facts import CLASSIFIER, read_facts
from classifier.export.head import write_head
from stage import artifact
from tests.beam_jobs.propagation import sets
from tests.classifier.features import probes

FEATURES = "f" * 64
#: Settings of predictions that can be relabeled.
SETTINGS = {"has_embedding_norms": True, "features": FEATURES}


def make_head(num_classes=4, size=sets.SIZE, *, seed=0, normalize=False):
    return probes.make_head(size, num_classes, seed=seed, normalize=normalize)


def write(directory, head, class_names="wxyz", **facts):
    """Writes a classifier with a head; returns its directory, as text."""
    artifact.start_or_resume(directory, {"made": "up"})
    given = {
        "fingerprint": "e" * 64,
        "class_names": list(class_names),
        "image": dataclasses.asdict(ImageConfig(size=32)),
        "features": FEATURES,
        "head": write_head(directory, head) if head else None,
    }
    artifact.write_json(directory / CLASSIFIER, {**given, **facts})
    artifact.complete(directory, seconds=0.0)
    return str(directory)


def replace_head(classifier, directory, head, class_names):
    """Writes a copy of a classifier with the facts of another head."""
    shutil.copytree(classifier, directory)
    facts = dataclasses.asdict(read_facts(directory))
    changed = {
        "fingerprint": "e" * 64,
        "class_names": list(class_names),
        "head": write_head(directory, head),
    }
    artifact.write_json(directory / CLASSIFIER, {**facts, **changed})
    return str(directory)
