"""Unlabeled images of a training run: their sample, and batches that hold them.

Every part of a batch has its labeled images first, then the strong views of unlabeled
ones. The views to predict on are an array of their own, because they pass through the
network without a gradient.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import tensorflow as tf

from classifier.data import preprocessing, sampling
from classifier.data.sampling import ExcludedImages, UnlabeledSample
from classifier.data.sources import Source
from classifier.training import budget, consistency, input_pipeline, trainer
from classifier.training.config import TrainConfig
from classifier.training.devices import Devices
from classifier.training.trainer import MakeBatches, TrainingRun
from stage import licenses


def check(config: TrainConfig, devices: Devices) -> None:
    """Checks that every part and device gets an equal share of all kinds of images.

    Raises:
        ValueError: If one does not.
    """
    size, ratio = config.global_batch_size, config.consistency.unlabeled_ratio
    labeled = size - config.consistency.unlabeled_of(size)
    if not labeled or labeled * (1 + ratio) != size:
        raise ValueError(
            f"expected global_batch_size to be a multiple of {1 + ratio}, one labeled "
            f"image and {ratio} of consistency.unlabeled_ratio, got {size}"
        )
    for name, count in (
        ("the larger of input_shards and model.batch_norm_groups", config.batch_parts),
        ("the number of devices", devices.count),
    ):
        if labeled % count:
            raise ValueError(
                f"expected labeled images of a batch to be divisible by {count}, "
                f"{name}, got {labeled}; change global_batch_size or "
                "consistency.unlabeled_ratio"
            )


def draw(
    source: Source, config: TrainConfig, excluded: ExcludedImages
) -> UnlabeledSample:
    """Returns the images of a source to learn from, see `sampling.draw`.

    Raises:
        ValueError: If there are fewer files than input shards, or no image to use.
        OSError: If the images cannot be read.
    """
    trainer.check_files(source, config)
    return sampling.draw(
        source,
        config.consistency.max_images,
        input_shards=config.input_shards,
        excluded=excluded,
    )


def add_sample(
    run: TrainingRun, sample: UnlabeledSample, license: str | None = None
) -> TrainingRun:
    """Returns the run with the sample to learn from.

    `license` is what the user stated of the images that it was drawn from. Raises
    ValueError if there are not enough files for the input shards.
    """
    trainer.check_input_shards(sample.source, run.config)
    return dataclasses.replace(
        run,
        unlabeled=sample.source,
        excluded=sample.excluded.sources,
        ledger=licenses.merge(run.ledger, [licenses.state(sample.origin, license)]),
    )


def describe(sample: UnlabeledSample, config: TrainConfig) -> str:
    """Returns the number of images, of each batch and of those left out in one line."""
    size = config.global_batch_size
    unlabeled = config.consistency.unlabeled_of(size)
    epochs = config.num_steps * unlabeled / sample.num_images
    line = (
        f"{sample.num_images:,} unlabeled images seen {budget.describe_times(epochs)}; "
        f"each batch has {unlabeled} of them and {size - unlabeled} labeled ones"
    )
    if sample.num_excluded:
        line += f"; {sample.num_excluded:,} are excluded"
    if sample.num_skipped:
        line += f"; {sample.num_skipped:,} cannot be used, first {sample.reason}"
    if sample.unread:
        line += (
            f"; files that cannot be read to their end: {len(sample.unread):,}, first "
            f"{sample.unread[0]}; nothing behind this is learned from"
        )
    return line


def check_again(sample: UnlabeledSample, source: Source, config: TrainConfig) -> None:
    """Raises ValueError if another sample than before is drawn from a source."""
    again = draw(source, config, sample.excluded)
    if again.source.describe() != sample.source.describe():
        raise ValueError(f"{sample.source.spec}: the files have changed while training")


def plan_batches(run: TrainingRun) -> MakeBatches:
    """Returns the function that makes batches of labeled and unlabeled images."""
    if run.unlabeled is None:
        return run.labeled_batches
    return functools.partial(
        consistency_batches,
        run.labeled,
        run.unlabeled,
        run.config,
        len(run.class_names),
    )


def consistency_batches(
    labeled: Source,
    unlabeled: Source,
    config: TrainConfig,
    num_classes: int,
    start_step: int = 0,
    shard: int = 0,
) -> Any:
    """Returns an endless dataset of one input shard's share of the batches.

    Beside "image" and "target", a batch has what `consistency.label_views` needs. The
    targets of unlabeled images are zeros.
    """
    shards = config.input_shards
    num_unlabeled = config.consistency.unlabeled_of(config.global_batch_size)
    where = {"start_step": start_step, "shard": shard}
    is_weak = config.consistency.labeled_noise == "weak"
    prepare = input_pipeline.labeled_example(
        config,
        trainer.hard_targets(config, num_classes=num_classes),
        weak_view if is_weak else input_pipeline.strong_view,
    )
    num_labeled = config.global_batch_size - num_unlabeled
    return input_pipeline.mix_batches(
        input_pipeline.prepared_batches(
            labeled, config, prepare, batch_size=num_labeled // shards, **where
        ),
        unlabeled_batches(
            unlabeled, config, batch_size=num_unlabeled // shards, **where
        ),
        config,
        kind="unlabeled",
    )


def unlabeled_batches(
    source: Source, config: TrainConfig, *, stream: int = 1, **where: int
) -> Any:
    """Returns an endless dataset of two views of the images of a sample.

    A batch is `{"view": uint8 [B,S,S,3], "image": uint8 [B,S,S,3], "index": int32
    [B]}`: the view to predict on, the view with the recipe's noise, and the numbers of
    the images in the sample. `where` are arguments of
    `input_pipeline.prepared_batches`.
    """
    is_weak = config.consistency.predicted_view == "weak"
    make_view = weak_view if is_weak else clean_view

    def prepare(example: dict[str, Any], seed: Any) -> dict[str, Any]:
        encoded = example["image"]
        return {
            consistency.VIEW: make_view(
                encoded, config, seed=tf.random.fold_in(seed, 1)
            ),
            "image": input_pipeline.strong_view(encoded, config, seed=seed),
            consistency.INDEX: tf.cast(example["index"], tf.int32),
        }

    return input_pipeline.prepared_batches(
        source, config, prepare, stream=stream, **where
    )


def weak_view(encoded: Any, config: TrainConfig, *, seed: Any) -> Any:
    """Returns an encoded image cropped, mirrored and shifted, uint8 [S,S,3]."""
    crop_seed, shift_seed = tf.unstack(tf.random.split(seed, 2))
    image = preprocessing.training_image(encoded, config.image, seed=crop_seed)
    return preprocessing.shifted(
        image,
        config.consistency.max_shift,
        padding=config.consistency.shift_padding,
        seed=shift_seed,
    )


def clean_view(encoded: Any, config: TrainConfig, *, seed: Any) -> Any:
    """Returns an encoded image as it is evaluated, uint8 [S,S,3]."""
    del seed  # Nothing is random.
    return preprocessing.evaluation_image(encoded, config.image)
