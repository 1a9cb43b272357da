"""Multiply-adds of a run's chain, by the rules that set the length of training."""

from __future__ import annotations

import dataclasses

from classifier.training import budget as teacher_budget
from classifier.training import presets as teacher_presets
from classifier.training.budget import MAX_COUNTED
from student.training import budget as student_budget
from student.training import presets as student_presets
from student.training.budget import Sizes
from workflow.choice.networks import Backbone, Network

#: Forward passes that an image of a training step costs, see `classifier.models.flops`.
_PASSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of images and classes.

    Attributes:
        labeled: Number of images with labels.
        unlabeled: Number of images without.
        classes: Number of classes.
        estimated: Names of the numbers that are estimates.
    """

    labeled: int
    unlabeled: int
    classes: int
    estimated: tuple[str, ...] = ()

    def describe(self, name: str) -> str:
        """Returns a number as text, an estimate as such."""
        about = "about " if name in self.estimated else ""
        return f"{about}{getattr(self, name):,}"

    @property
    def sizes(self) -> Sizes:
        """What a student learns from if every unlabeled image is kept."""
        return Sizes(labeled=self.labeled, pseudo_labeled=self.unlabeled)


def count_run(student: Network, backbone: Backbone | None, counts: Counts) -> float:
    """Returns the multiply-adds of teacher, labeling, student and control.

    The control computes as much as the others. Without a backbone the teacher is the
    student's network; one whose cost is not known counts nothing.
    """
    labeled = counts.unlabeled + 2 * counts.labeled  # To exclude, and to spread from.
    of_image = student.multiply_adds
    chain = _of_student(student, counts) * of_image
    if backbone is None:
        chain += (_of_teacher(student, counts) + labeled) * of_image
    else:
        chain += labeled * (backbone.multiply_adds or 0.0)
    return 2.0 * chain


def _of_teacher(network: Network, counts: Counts) -> int:
    """Returns the forward passes of the teacher's training."""
    config = teacher_budget.fit_length(
        teacher_presets.find(network.preset),
        counts.labeled,
        min(counts.unlabeled, MAX_COUNTED),
        fixed=(),
    )
    return _PASSES * config.num_steps * config.global_batch_size


def _of_student(network: Network, counts: Counts) -> int:
    """Returns the forward passes of the student's training; 0 without images."""
    if not counts.unlabeled:
        return 0
    config = student_budget.fit_budget(
        student_presets.find(network.preset), counts.sizes, num_classes=counts.classes
    )
    return _PASSES * config.num_steps * config.global_batch_size
