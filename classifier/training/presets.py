"""Training recipes by name.

`resnet_rs_DEPTH_SIZE` is a ResNet-RS of that depth at that resolution. The eleven
published pairs are in `PRESETS`; any other follows the same scaling rules, and so does
the resolution of `resnet_rs_DEPTH`. Steps are stated for ImageNet (1,281,167 images,
312 steps of 4096 an epoch), those of `tiny` for 50 images;
`classifier.training.budget` fits them to other numbers.
"""

from __future__ import annotations

import re

from classifier.data.config import GEOMETRIC_OPERATIONS, AugmentConfig, ImageConfig
from classifier.models import scaling, variants
from classifier.models.config import ModelConfig
from classifier.training import budget
from classifier.training.config import OptimizerConfig, TrainConfig
from stage.overrides import override_all, unknown

IMAGENET_EPOCH_STEPS = 312
FINE_TUNE = "fine_tune"


def tiny() -> TrainConfig:
    """Returns a quarter-width ResNet-RS-14 at 32 px, for small images and quick runs.

    It trains on two CPU cores in about a minute. There is no crop, which at this size
    would leave too little of the image, and no mirroring, which would turn digits and
    letters into others.
    """
    return TrainConfig(
        model=ModelConfig(name="resnet_rs_14", width_multiplier=0.25),
        image=ImageConfig(
            size=32, crop_fraction=1.0, min_crop_area=1.0, random_flip=False
        ),
        augment=AugmentConfig(
            num_ops=2,
            magnitude=5.0,
            operations=GEOMETRIC_OPERATIONS,
            # The same shares of the image as 100 and 40 of 224 px on ImageNet.
            translate_pixels=14.0,
            cutout_pixels=6.0,
            interpolation="bilinear",
            contrast_pivot="mean",
        ),
        optimizer=OptimizerConfig(peak_learning_rate=0.1, warmup_steps=50),
        global_batch_size=32,
        num_steps=800,
        evaluate_every=100,
        checkpoint_every=200,
    )


def resnet_rs(depth: int, image_size: int | None = None) -> TrainConfig:
    """Returns the paper's recipe: 350 epochs of ImageNet in batches of 4096.

    Top-1 published by the authors of the code: 50@160 78.8, 101@160 80.3,
    101@192 81.2, 152@192 82.0, 152@224 82.2, 152@256 83.0, 200@256 83.4,
    270@256 83.8, 350@256 84.0, 350@320 84.2, 420@320 84.4.

    Without `image_size`, the side in pixels is that of the slow scaling rule.
    """
    model = ModelConfig(name=f"{variants.PREFIX}{depth}")
    size = scaling.slow_image_size(depth) if image_size is None else image_size
    return TrainConfig(
        model=scaling.regularized(model, image_size=size),
        image=ImageConfig(size=size),
        augment=AugmentConfig(num_ops=2, magnitude=scaling.randaugment_magnitude(size)),
        optimizer=OptimizerConfig(warmup_steps=5 * IMAGENET_EPOCH_STEPS),
        num_steps=350 * IMAGENET_EPOCH_STEPS,
        evaluate_every=10 * IMAGENET_EPOCH_STEPS,
    )


#: Name, published top-1 and settings of each step from the plain ResNet-200 at 256 px
#: to ResNet-RS-200, each on top of the steps before it (table 1 of the paper).
ABLATION_STEPS: tuple[tuple[str, float, tuple[str, ...]], ...] = (
    ("baseline", 79.0, ()),
    ("cosine", 79.3, ("optimizer.schedule=cosine",)),
    ("350_epochs", 78.8, (f"num_steps={350 * IMAGENET_EPOCH_STEPS}",)),
    ("ema", 79.1, ("optimizer.ema_decay=0.9999", "model.batch_norm_momentum=0.0")),
    ("label_smoothing", 80.4, ("label_smoothing=0.1",)),
    ("stochastic_depth", 80.6, ("model.stochastic_depth_rate=0.1",)),
    ("randaugment", 81.0, ("augment.num_ops=2",)),
    ("dropout", 80.7, ("model.dropout_rate=0.25",)),
    ("weight_decay", 82.2, ("optimizer.weight_decay=4e-5",)),
    ("squeeze_excitation", 82.9, ("model.se_ratio=0.25",)),
    ("resnet_d", 83.4, ("model.resnet_d=True",)),
)
_BASELINE = (
    "optimizer.schedule=stepwise",
    f"num_steps={90 * IMAGENET_EPOCH_STEPS}",
    "optimizer.ema_decay=0.0",
    # Without a moving average of the weights, batch-norm needs its own.
    "model.batch_norm_momentum=0.9",
    "label_smoothing=0.0",
    "model.stochastic_depth_rate=0.0",
    "augment.num_ops=0",
    "model.dropout_rate=0.0",
    "optimizer.weight_decay=1e-4",
    "model.se_ratio=0.0",
    "model.resnet_d=False",
)


def ablation(step: int) -> TrainConfig:
    """Returns the plain ResNet-200 changed by `ABLATION_STEPS` up to `step`."""
    steps = ABLATION_STEPS[: step + 1]
    changes = [change for _, _, changes in steps for change in changes]
    return override_all(resnet_rs(200, 256), [*_BASELINE, *changes])


def fine_tune() -> TrainConfig:
    """Returns the recipe to transfer a trained ResNet-RS-50 to another data set.

    It needs `--init_from` and `--new_head`, see `docs/paper.md`. The protocol is that
    of Kornblith et al. (2019), also of SimCLR's and ResNet-RS's comparisons: 20,000
    steps of 256 images of 224 px, Nesterov momentum, a cosine without warm-up, crop
    and mirror as only noise. The learning rate and weight decay here are starting
    points for a search.
    """
    return TrainConfig(
        model=ModelConfig(name="resnet_rs_50", dropout_rate=0.0),
        image=ImageConfig(size=224),
        augment=AugmentConfig(num_ops=0),
        optimizer=OptimizerConfig(
            peak_learning_rate=0.05, warmup_steps=0, weight_decay=1e-5
        ),
        label_smoothing=0.0,
        global_batch_size=256,
        num_steps=20_000,
        evaluate_every=1000,
    )


#: The eleven published recipes.
PUBLISHED: dict[str, TrainConfig] = {
    f"{variants.PREFIX}{depth}_{size}": resnet_rs(depth, size)
    for depth, size in scaling.PUBLISHED_SIZES
}

#: Every recipe that has a name of its own.
PRESETS: dict[str, TrainConfig] = {
    "tiny": tiny(),
    **PUBLISHED,
    **{
        f"ablation_{step}_{name}": ablation(step)
        for step, (name, _, _) in enumerate(ABLATION_STEPS)
    },
    FINE_TUNE: fine_tune(),
}


def find(name: str) -> TrainConfig:
    """Returns the preset, or the ResNet-RS of a `resnet_rs_DEPTH[_SIZE]`.

    Raises:
        ValueError: If there is none; names the nearest.
    """
    recipe = PRESETS.get(name) or scaled(name)
    if recipe is None:
        raise ValueError(unknown("preset", name, PRESETS))
    return recipe


def check_initial(name: str, init_from: str | None) -> None:
    """Raises ValueError if a preset needs `--init_from` and it is not given."""
    if name == FINE_TUNE and init_from is None:
        raise ValueError(
            "--preset=fine_tune needs --init_from=, weights to start from, such as "
            "hf:timm/resnetrs50.tf_in1k, with --new_head for other classes"
        )


def epochs(name: str) -> float | None:
    """Returns the epochs over the labeled images that a preset's length stands for.

    None for `fine_tune`, whose number of steps is fixed by its protocol.

    Raises:
        ValueError: If there is no such preset; names the nearest.
    """
    if name == FINE_TUNE:
        return None
    if name == "tiny":
        return budget.EPOCHS
    return find(name).num_steps / IMAGENET_EPOCH_STEPS


def scaled(name: str) -> TrainConfig | None:
    """Returns the recipe of any `resnet_rs_DEPTH[_SIZE]`; None for another name."""
    match = re.fullmatch(rf"{variants.PREFIX}(\d+)(?:_(\d+))?", name)
    if match is None:
        return None
    return resnet_rs(int(match[1]), int(match[2]) if match[2] else None)
