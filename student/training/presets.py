"""Students' recipes by name, and the recipe of the last phase at a higher resolution.

`student.training.budget` fits a recipe to the number of images. A student of `tiny` is
its teacher's recipe with sharpened targets; that of a ResNet-RS is the paper's
semi-supervised one. A ResNet-RS student larger than its teacher is a deeper preset.
"""

from __future__ import annotations

from classifier.training import budget, presets
from classifier.training.config import TrainConfig, replace_paths
from stage.overrides import unknown
from student.training.config import MixtureConfig, StudentConfig

#: Growth of the image's side for the last phase, and the multiple that it is rounded
#: to. Published sizes are multiples of 32, but that would double a side of 32.
GROWTH = 1.25
SIZE_STEP = 8
#: Epochs over the labeled images in the last phase (Xie et al. 2020).
LAST_EPOCHS = 1.5
#: Minimum number of steps in the last phase: with fewer, the moving average would keep
#: much of the initial weights.
MIN_LAST_STEPS = 100
#: Learning rate of the last phase as a share of the student's. Chosen here: the
#: published works use another optimizer.
LAST_RATE = 0.1
#: Frozen stages of a ResNet-RS (of four) in the last phase; the stem is frozen too.
FROZEN_STAGES = 3


def student_of(teacher: TrainConfig) -> StudentConfig:
    """Returns the student's recipe for a teacher's."""
    return StudentConfig(**vars(teacher))


def semi_supervised(supervised: TrainConfig) -> StudentConfig:
    """Returns the paper's semi-supervised recipe (Bello et al. 2021, section 7.3).

    There ResNet-RS-152 at 224 px reached 86.2 % top-1 on ImageNet with the 130M images
    that EfficientNet-L2 labeled for Noisy Student, 82.2 % without them.

    The paper trains on both sets at once and keeps every other setting, such as the
    batch of 4096, the learning rate and the noise. It does not state mixture and steps;
    they are Noisy Student's here (Xie et al. 2020): three pseudo-labeled images to each
    labeled one, unsharpened distributions as targets, and 350 epochs of the labeled
    images, four times the supervised steps.
    """
    mixture = MixtureConfig(labeled_fraction=0.25, target_kind="soft", temperature=1.0)
    factor = round(1 / mixture.labeled_fraction)
    values = {
        "mixture": mixture,
        "optimizer.warmup_steps": supervised.optimizer.warmup_steps * factor,
        "num_steps": supervised.num_steps * factor,
    }
    return replace_paths(student_of(supervised), values)


#: Recipes with a name of their own.
PRESETS: dict[str, StudentConfig] = {
    "tiny": student_of(presets.tiny()),
    **{name: semi_supervised(recipe) for name, recipe in presets.PUBLISHED.items()},
}


def find(name: str) -> StudentConfig:
    """Returns the preset, or the ResNet-RS of a `resnet_rs_DEPTH[_SIZE]`."""
    if name in PRESETS:
        return PRESETS[name]
    recipe = presets.scaled(name)
    if recipe is None:
        raise ValueError(unknown("preset", name, PRESETS))
    return semi_supervised(recipe)


def larger_image_size(image_size: int) -> int:
    """Returns the side in pixels of the last phase for a student's `image_size`."""
    return round(GROWTH * image_size / SIZE_STEP) * SIZE_STEP


def last_phase(
    trained: TrainConfig, *, num_labeled: int, image_size: int | None = None
) -> TrainConfig:
    """Returns the recipe of a last phase at a higher resolution, without noise.

    Training crops make objects look larger than evaluation does; a few steps at a
    higher resolution bring the two together (Touvron et al. 2019). As in Noisy Student,
    they train the last layers (of other networks than ResNet-RS all) on labeled images
    that are not augmented. Without `image_size`, the side in pixels is
    `larger_image_size` of the student's.
    """
    steps = round(LAST_EPOCHS * num_labeled / trained.global_batch_size)
    config = budget.with_num_steps(trained, max(MIN_LAST_STEPS, steps))
    rate = LAST_RATE * config.optimizer.peak_learning_rate
    values = {
        "model.dropout_rate": 0.0,
        "model.stochastic_depth_rate": 0.0,
        "image.size": image_size or larger_image_size(config.image.size),
        "image.min_crop_area": 1.0,
        "image.random_flip": False,
        "augment.num_ops": 0,
        "optimizer.peak_learning_rate": rate,
        "optimizer.warmup_steps": 0,
        "frozen_stages": 0 if config.model.depth is None else FROZEN_STAGES,
    }
    return replace_paths(config, values)
