"""What the artifacts of a draw have reached, and scikit-learn on the same features."""

from __future__ import annotations

import csv
import pathlib
import statistics

import tensorflow as tf
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.methods.draws import TRUTH
from benchmarks.methods.training import read_figures
from benchmarks.pretrained.chain import CONTROL, TEACHER, ProbeTask
from benchmarks.pretrained.figures import DrawFigures
from classifier.data import inspection
from classifier.data.sources import open_source
from classifier.features.opening import open_features
from classifier.probing.embeddings import embed
from pseudo_label.selection.decision import read_selection

#: Values of C that scikit-learn chooses from by five folds, and its most iterations.
_VALUES, _MAX_ITERATIONS = 10, 1_000


def measure(task: ProbeTask, data: str, folder: pathlib.Path) -> DrawFigures:
    """Returns the figures of a draw whose artifacts are complete.

    Args:
        task: The draw.
        data: Name of its data set.
        folder: Directory of its images.
    """
    labels, truth = _read_labels(task.path("dataset")), _read_truth(folder)
    names = task.draw.class_names
    accuracies = {
        name: read_figures(task.path(name)).evaluation.top1
        for name in (TEACHER, "probe", "student", CONTROL)
        if name not in task.without
    }
    estimate = read_selection(task.path("selection")).estimate
    return DrawFigures(
        data=data,
        seed=task.seed,
        settings=task.student,
        teacher=accuracies.get(TEACHER),
        probe=accuracies["probe"],
        student=accuracies["student"],
        control=accuracies.get(CONTROL),
        reference=score_reference(task),
        kept=len(labels),
        estimated_precision=estimate.kept.estimate if estimate else None,
        precision=statistics.fmean(
            names[label] == truth[name] for name, label in labels.items()
        ),
    )


def score_reference(task: ProbeTask) -> float:
    """Returns the accuracy of scikit-learn's logistic regression on the test images.

    Its features are the probe's, of images as the probe sees them.
    """
    extractor = open_features(str(task.path("probe"))).load()
    labeled, test = (
        embed(inspection.inspect(open_source(spec)), extractor)
        for spec in (task.draw.labeled, task.draw.evaluation)
    )
    regression = LogisticRegressionCV(
        Cs=_VALUES,
        max_iter=_MAX_ITERATIONS,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )
    model = make_pipeline(StandardScaler(), regression)
    model.fit(labeled.embeddings, labeled.labels)
    return float(model.score(test.embeddings, test.labels))


def _read_labels(dataset: pathlib.Path) -> dict[str, int]:
    """Returns the pseudo-label of each image of a dataset by the image's name."""
    files = sorted(str(path) for path in dataset.glob("*.tfrecord*"))
    found = {}
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        (name,) = feature["key"].bytes_list.value
        (found[name.decode()],) = feature["label"].int64_list.value
    return found


def _read_truth(folder: pathlib.Path) -> dict[str, str]:
    """Returns the class of each unlabeled image by its name."""
    with open(folder / TRUTH, newline="") as file:
        return {row["name"]: row["class"] for row in csv.DictReader(file)}
