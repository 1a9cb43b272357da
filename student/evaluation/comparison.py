"""A student compared with its pseudo-labels and its teacher.

How many pseudo-labels a student predicts without noise shows whether it has learned
them, or had too few steps or too much noise. The images that only the student or only
the teacher gets right show more than the two accuracies.
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
from student.training.mixture import PseudoLabeled, open_pseudo_labeled

#: Number of records to measure the fit on, for a standard error of about one point.
SAMPLE_SIZE = 2000
#: Reads the copy number of a record in place of its label.
_COPIES = RecordReader(image_feature="image", label_feature="copy")


def check_inputs(
    student: str,
    images: Source,
    *,
    pseudo_labeled: str | None = None,
    teachers: Sequence[str] = (),
) -> tuple[dict[str, Any], PseudoLabeled | None]:
    """Returns the content of the output's `config.json`, and the pseudo-labeled images.

    `student`, `pseudo_labeled` and `teachers` are directories; `images` are labeled.

    Raises:
        ValueError: If an input is incomplete, or the classes differ.
        FileNotFoundError: If an input does not exist.
    """
    facts = read_ensemble_facts([student, *teachers])
    class_names = facts[0].class_names
    check_same_classes(class_names, images.labeled_class_names(), images.spec)
    opened = None
    if pseudo_labeled is not None:
        opened = open_pseudo_labeled(pseudo_labeled, class_names)
    config = {
        "student": facts[0].fingerprint,
        "evaluation": images.describe(),
        "pseudo_labeled": opened and opened.fingerprint,
        "teachers": [teacher.fingerprint for teacher in facts[1:]],
    }
    return config, opened


def evaluate(
    student: str,
    images: Source,
    *,
    pseudo_labeled: PseudoLabeled | None = None,
    teachers: Sequence[str] = (),
) -> tuple[dict[str, Any], pa.Table]:
    """Returns the figures, and a row for every labeled image.

    The figures are those of `evaluation.summarize`, with `fit` if there are
    pseudo-labels, and `teacher` if there are teachers. Inputs as in `check_inputs`.
    """
    network = Ensemble([student])
    rows = evaluation.evaluate(network, images)
    figures = evaluation.summarize(rows)
    if pseudo_labeled is not None:
        sample = sample_images(pseudo_labeled.source, SAMPLE_SIZE)
        agrees = evaluation.is_right(evaluation.evaluate(network, sample))
        figures["fit"] = {
            "num_examples": len(agrees),
            "agreement": float(agrees.mean()),
        }
    if teachers:
        teacher_rows = evaluation.evaluate(Ensemble(teachers), images)
        figures["teacher"] = compare(rows, teacher_rows)
    return figures, rows


def sample_images(dataset: Source, limit: int) -> Source:
    """Returns a sample of a written dataset in which no image is repeated.

    Takes the first records of every shard, which are in the order of a hash, in
    proportion to the length of the shard, and leaves out further copies. `limit` is the
    maximum number of records, copies included.
    """
    ends = np.cumsum([0, *(file.take for file in dataset.files)])
    shares = np.diff(ends * min(limit, ends[-1]) // max(ends[-1], 1))
    files = tuple(
        dataclasses.replace(file, take=int(share))
        for file, share in zip(dataset.files, shares, strict=True)
        if share
    )
    firsts = [
        np.array([example.label == 0 for example in _COPIES.examples(file)])
        for file in files
    ]
    return dataclasses.replace(dataset, shards=(Shard(0, files),)).subset(firsts)


def compare(student: pa.Table, teacher: pa.Table) -> dict[str, Any]:
    """Returns the teacher's top-1, and how many images only one of the two gets right.

    Both have a row of `evaluation.evaluate` for each of the same images.
    """
    if not student["key"].equals(teacher["key"]):
        raise ValueError("the evaluation images changed during the run; start it again")
    student_right, teacher_right = map(evaluation.is_right, (student, teacher))
    return {
        "top1": float(teacher_right.mean()),
        "only_student_right": int((student_right & ~teacher_right).sum()),
        "only_teacher_right": int((teacher_right & ~student_right).sum()),
    }


def describe(figures: dict[str, Any]) -> list[str]:
    """Returns the figures as lines of text."""
    lines = [evaluation.describe(figures)]
    if "fit" in figures:
        fit = figures["fit"]
        lines.append(
            f"the student's top class is the label of {fit['agreement']:.2%} of "
            f"{fit['num_examples']:,} pseudo-labels"
        )
    if "teacher" in figures:
        teacher = figures["teacher"]
        points = 100 * (figures["top1"] - teacher["top1"])
        lines.append(
            f"only the student is right on {teacher['only_student_right']:,} images, "
            f"only the teacher on {teacher['only_teacher_right']:,} "
            f"({points:+.2f} points)"
        )
    return lines
