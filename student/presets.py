"""Recipes for students, by name: the teacher's, wider, longer and noised."""

from __future__ import annotations

import dataclasses

from classifier import presets
from classifier.config import TrainConfig
from student.config import StudentConfig

#: Noisy Student's student is larger than its teacher, and sees far more images.
WIDER = 1.5
LONGER = 2


def student_of(teacher: TrainConfig) -> StudentConfig:
    """Returns the student's recipe for a teacher's."""
    fields = {
        field.name: getattr(teacher, field.name)
        for field in dataclasses.fields(teacher)
    }
    model = dataclasses.replace(
        teacher.model, width_multiplier=teacher.model.width_multiplier * WIDER
    )
    return StudentConfig(
        **{**fields, "model": model, "num_steps": teacher.num_steps * LONGER}
    )


PRESETS: dict[str, StudentConfig] = {"tiny": student_of(presets.tiny())}
