"""A student beside its pseudo-labels and its teacher.

How many of its pseudo-labels a student has taken over, without noise, tells whether it
learned them or had too little time, or too much noise; how often it is right where its
teacher is wrong, and the other way round, tells more than the two accuracies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from classifier.data.class_names import check_same_classes
from classifier.data.readers import RecordReader
from classifier.data.sources import Shard, Source
from classifier.export.saved_model import read_ensemble_facts
from classifier.inference import evaluation
from classifier.inference.ensemble import Ensemble
from student.training.mixture import open_pseudo_labeled

#: Records that the fit is measured on: it is known to one point or two.
SAMPLE_SIZE = 2000
#: Reads the copy number of a record in place of its label.
_COPIES = RecordReader(image_feature="image", label_feature="copy")


@dataclasses.dataclass(frozen=True)
class ComparisonPlan:
    """What is to be evaluated.

    Attributes:
        config: What identifies it.
        student: Directory of the classifier.
        images: Labeled images.
        pseudo_labeled: The dataset that it has learned from, if the fit is asked for.
        teachers: Directories of the classifiers to compare it with.
    """

    config: dict[str, Any]
    student: str
    images: Source
    pseudo_labeled: Source | None
    teachers: tuple[str, ...]


def plan(
    student: str,
    images: Source,
    *,
    pseudo_labeled: str | None = None,
    teachers: Sequence[str] = (),
) -> ComparisonPlan:
    """Returns what can be evaluated.

    Raises:
        ValueError: If classes differ, or something is not complete.
        FileNotFoundError: If something is not there.
    """
    facts = read_ensemble_facts([student, *teachers])
    class_names = tuple(facts[0]["class_names"])
    check_same_classes(class_names, images.labeled_class_names(), images.spec)
    records, fingerprint = None, None
    if pseudo_labeled is not None:
        dataset = open_pseudo_labeled(pseudo_labeled, class_names)
        records, fingerprint = dataset.source, dataset.fingerprint
    config = {
        "student": facts[0]["fingerprint"],
        "evaluation": images.describe(),
        "pseudo_labeled": fingerprint,
        "teachers": [teacher["fingerprint"] for teacher in facts[1:]],
    }
    return ComparisonPlan(config, student, images, records, tuple(teachers))


def carry_out(plan: ComparisonPlan) -> tuple[dict[str, Any], pa.Table]:
    """Returns the figures, and a row for each of the labeled images.

    The figures are those of `evaluation.summarize`, `fit` where there are
    pseudo-labels, and `teacher` where there is one.

    Raises:
        ValueError: If there is no image, or one has no label in range.
        OSError: On what may pass and did not.
    """
    student = Ensemble([plan.student])
    rows = evaluation.evaluate(student, plan.images)
    figures = evaluation.summarize(rows)
    if plan.pseudo_labeled is not None:
        sample = sample_images(plan.pseudo_labeled, SAMPLE_SIZE)
        figures["fit"] = fit(evaluation.evaluate(student, sample))
    if plan.teachers:
        others = evaluation.evaluate(Ensemble(plan.teachers), plan.images)
        figures["teacher"] = compare(rows, others)
    return figures, rows


def sample_images(dataset: Source, limit: int) -> Source:
    """Returns some images of a written dataset, each of them once.

    The first records of every shard, which are in the order of a hash, in proportion to
    its length, and of them those that are no further copy of an image.

    Args:
        dataset: The records.
        limit: Of the records.
    """
    ends = np.cumsum([0, *(file.take for file in dataset.files)])
    shares = np.diff(ends * min(limit, ends[-1]) // max(ends[-1], 1))
    files = tuple(
        dataclasses.replace(file, take=int(share))
        for file, share in zip(dataset.files, shares, strict=True)
        if share
    )
    firsts = [
        np.array([one.label == 0 for one in _COPIES.examples(file)]) for file in files
    ]
    return dataclasses.replace(dataset, shards=(Shard(0, files),)).only(firsts)


def fit(rows: pa.Table) -> dict[str, Any]:
    """Returns how many pseudo-labels are the student's own top class, as `agreement`.

    Args:
        rows: Of `evaluation.evaluate`, by pseudo-labels.
    """
    agrees = evaluation.is_right(rows)
    return {"num_examples": len(agrees), "agreement": float(agrees.mean())}


def compare(student: pa.Table, teacher: pa.Table) -> dict[str, Any]:
    """Returns the teacher's accuracy, and how many images only one of them gets right.

    Args:
        student: Rows of `evaluation.evaluate`.
        teacher: Rows of the same images, in the same order.

    Raises:
        ValueError: If they are of other images.
    """
    if not student["key"].equals(teacher["key"]):
        raise ValueError("the images have changed while they were read")
    of_student, of_teacher = map(evaluation.is_right, (student, teacher))
    return {
        "top1": float(of_teacher.mean()),
        "only_student_right": int((of_student & ~of_teacher).sum()),
        "only_teacher_right": int((of_teacher & ~of_student).sum()),
    }


def describe(figures: dict[str, Any]) -> list[str]:
    """Returns what `carry_out` has found, for people."""
    lines = [evaluation.describe(figures)]
    if "fit" in figures:
        found = figures["fit"]
        lines.append(
            f"of {found['num_examples']:,} pseudo-labels, {found['agreement']:.2%} are "
            "its own top class"
        )
    if "teacher" in figures:
        found = figures["teacher"]
        points = 100 * (figures["top1"] - found["top1"])
        lines.append(
            f"the student is right on {found['only_student_right']:,} images that its "
            f"teacher gets wrong, wrong on {found['only_teacher_right']:,} that it "
            f"gets right ({points:+.2f} points)"
        )
    return lines
