"""The control's length: as many multiply-adds as the chain that it is compared with.

The control is begun when the first student is, beside it, and has its recipe: batch,
learning rate and noise. What later rounds compute is not known yet, and counted as the
most that it can be: their students learn from as many records as a selection may have,
and label as many images as the teachers did. So the control's network never computes
less than those of the chain. Not counted are

- calibrations and evaluations: one forward pass of a few labeled images;
- the search for similar images: a multiply-add for each feature and pair of images, or
  pair in a cell. With `tiny`, which has 512 features, that is 0.1 % of a student's
  training in the demo, 8 % with 50,000 images and 38 % with 200,000, the largest exact
  graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from etils import epath

from classifier.export.facts import CLASSIFIER, read_facts
from classifier.models.flops import training_multiply_adds
from pseudo_label.predictions.prediction_set import SUMMARY
from stage import artifact, typed_json
from stage.typed_json import Count, NonNegative, PositiveCount
from student.training.budget import Sizes
from student.training.config import StudentConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spent:
    """What artifacts have cost.

    Attributes:
        multiply_adds: Multiply-adds of trainings and labelings.
        num_images: Number of images that were labeled.
        uncounted: Directory of a probe whose features' cost is not known, so that it
            and its labelings are left out; "" if there is none.
    """

    multiply_adds: float
    num_images: int
    uncounted: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Labeling:
    images: Count
    multiply_adds: NonNegative | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    images_per_class: PositiveCount


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Dataset:
    settings: _Settings


def read_spent(directories: Iterable[str]) -> Spent:
    """Returns what classifiers and predictions have cost, teachers first.

    Raises:
        ValueError: If a directory is not complete or neither of both, or its
            multiply-adds were not counted, except for those of a probe.
        FileNotFoundError: If one does not exist.
    """
    multiply_adds, num_images, uncounted = 0.0, 0, ""
    for directory in directories:
        path = artifact.require_complete(directory, "compute_of")
        if (path / CLASSIFIER).exists():
            facts = read_facts(path)
            found = facts.multiply_adds
            if facts.is_uncounted:
                uncounted = directory
        elif (path / SUMMARY).exists():
            labeling = typed_json.read(path / SUMMARY, _Labeling)
            found = labeling.multiply_adds
            num_images += labeling.images
        else:
            raise ValueError(
                f"--compute_of={directory}: expected a classifier or predictions, "
                f"found no {CLASSIFIER} and no {SUMMARY}"
            )
        if found is None and not uncounted:
            raise ValueError(
                f"--compute_of={directory}: the multiply-adds were not counted. For "
                "output of propagate_labels, give the predictions it was made from; "
                "if an earlier version made the directory or its teacher, make them "
                "again"
            )
        multiply_adds += found or 0.0
    return Spent(
        multiply_adds=multiply_adds, num_images=num_images, uncounted=uncounted
    )


def largest_sizes(sizes: Sizes, dataset: str, *, num_classes: int) -> Sizes:
    """Returns the sizes with the most records that a selection like the dataset's has.

    Raises:
        ValueError: If the dataset's `config.json` does not say it.
    """
    found = typed_json.read(epath.Path(dataset) / artifact.CONFIG, _Dataset)
    most = num_classes * found.settings.images_per_class
    return dataclasses.replace(sizes, pseudo_labeled=max(sizes.pseudo_labeled, most))


def find_steps(
    spent: Spent, students: Sequence[StudentConfig], *, of_image: int
) -> int:
    """Returns the steps by which the control has computed as much as the chain.

    Args:
        spent: Cost of the teachers and of the first round's labeling.
        students: Recipe of each round's student; the control has the first one's batch.
        of_image: Multiply-adds of the student's network for one image, forward.
    """
    of_students = sum(
        training_multiply_adds(
            of_image,
            num_steps=student.num_steps,
            with_gradient=student.global_batch_size,
        )
        for student in students
    )
    of_labelings = (len(students) - 1) * spent.num_images * of_image
    of_step = training_multiply_adds(
        of_image, num_steps=1, with_gradient=students[0].global_batch_size
    )
    # Of integers, since a float may lack a step.
    return -(-(int(spent.multiply_adds) + of_labelings + of_students) // of_step)
