"""Recipes for students, by name, as `student.training.budget` finds them.

`tiny` is the teacher's with targets sharpened; the schedule makes it wider and longer.
A ResNet-RS of the published kind is trained as the paper trains its semi-supervised
one, `resnet_rs_152_224`: there a larger student is a deeper one, so give the teacher's
command another preset.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from classifier.training import presets
from classifier.training.config import TrainConfig
from stage.overrides import unknown
from student.training.config import MixtureConfig, StudentConfig


def student_of(teacher: TrainConfig) -> StudentConfig:
    """Returns the student's recipe for a teacher's."""
    return StudentConfig(**_fields(teacher))


def semi_supervised(supervised: TrainConfig) -> StudentConfig:
    """The paper's semi-supervised training (Bello et al. 2021, section 7.3).

    Of ImageNet's 1.2M labeled images and 130M that EfficientNet-L2 labeled for Noisy
    Student; ResNet-RS-152 at 224 px reached 86.2 % top-1 there, 82.2 % without them.

    From the paper: joint training, every other setting as in supervised training, so
    the batch of 4096, the learning rate and the noise too. It states neither mixture
    nor steps; ours are Noisy Student's (Xie et al. 2020): three pseudo-labeled images
    to each labeled one, the teacher's distributions unsharpened, and 350 epochs of
    the labeled images. As a quarter of the batch is labeled, that is four times the
    supervised steps.
    """
    mixture = MixtureConfig(labeled_fraction=0.25, target_kind="soft", temperature=1.0)
    longer = round(1 / mixture.labeled_fraction)
    optimizer = dataclasses.replace(
        supervised.optimizer, warmup_steps=supervised.optimizer.warmup_steps * longer
    )
    return StudentConfig(
        **{
            **_fields(supervised),
            "mixture": mixture,
            "optimizer": optimizer,
            "num_steps": supervised.num_steps * longer,
        }
    )


def _fields(config: TrainConfig) -> dict[str, Any]:
    return {
        field.name: getattr(config, field.name) for field in dataclasses.fields(config)
    }


#: Every recipe that has a name of its own.
PRESETS: dict[str, StudentConfig] = {
    "tiny": student_of(presets.tiny()),
    **{name: semi_supervised(recipe) for name, recipe in presets.PUBLISHED.items()},
}


def find(name: str) -> StudentConfig:
    """Returns the recipe of that name, or the ResNet-RS that a name asks for.

    Raises:
        ValueError: If there is none; names the nearest.
    """
    if name in PRESETS:
        return PRESETS[name]
    recipe = presets.scaled(name)
    if recipe is None:
        raise ValueError(unknown("preset", name, PRESETS))
    return semi_supervised(recipe)
