"""Networks and recipes by name, noise left to whoever trains them."""

from __future__ import annotations

from classifier.config import (
    GEOMETRIC_OPERATIONS,
    AugmentConfig,
    ImageConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)


def tiny() -> TrainConfig:
    """A quarter-width ResNet-RS-14 at 32 px, for small images and quick runs.

    Trains on two CPU cores in about a minute. The whole image is seen: at this size
    neither a center crop nor an inception crop leaves enough of it, and mirroring
    would turn digits and letters into others.
    """
    return TrainConfig(
        model=ModelConfig(
            name="resnet_rs_14",
            width_multiplier=0.25,
            dropout_rate=0.25,
            stochastic_depth_rate=0.0,
        ),
        image=ImageConfig(
            size=32, crop_fraction=1.0, min_crop_area=1.0, random_flip=False
        ),
        augment=AugmentConfig(
            num_ops=2,
            magnitude=5.0,
            operations=GEOMETRIC_OPERATIONS,
            # The same share of the image as 100 of ImageNet's 224.
            translate_pixels=14.0,
            interpolation="bilinear",
            contrast_pivot="mean",
        ),
        optimizer=OptimizerConfig(
            peak_learning_rate=0.1, warmup_steps=50, weight_decay=4e-5
        ),
        global_batch_size=32,
        num_steps=800,
        evaluate_every=400,
        checkpoint_every=200,
    )
