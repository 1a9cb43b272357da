"""The mixture: a fixed number of labeled and pseudo-labeled images in every batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from classifier import artifact, data, train
from classifier.class_names import check_same_classes
from classifier.sources import Source, open_source
from classifier.train import MakeBatches, Run
from pseudo_label import record, targets
from student.config import StudentConfig


def plan_batches(
    run: Run, config: StudentConfig, pseudo_labeled: str | None
) -> tuple[MakeBatches, str | None]:
    """Returns the student's batches and the fingerprint of the pseudo-labels.

    Args:
        run: The labeled side.
        config: The mixture.
        pseudo_labeled: A written dataset; None for the control, whose batches are of
            the same size and all labeled.

    Raises:
        ValueError: If it is no such dataset, is not complete, or its classes differ.
        FileNotFoundError: If it is not there.
    """
    if pseudo_labeled is None:
        return run.labeled_batches, None
    path = artifact.require_complete(pseudo_labeled, "pseudo_labeled")
    source = open_source(
        f"tfds:{os.path.abspath(path)}:{record.SPLIT}",
        more_features=record.TARGET_FEATURES,
    )
    check_same_classes(run.class_names, source.labeled_class_names(), pseudo_labeled)

    check_divisible(config)
    train.check_input_shards(source, config)

    def make_batches(start_step: int, shards: Sequence[int]) -> Any:
        return data.over_shards(
            lambda shard: mixed_batches(
                run.labeled,
                source,
                config,
                num_classes=len(run.class_names),
                start_step=start_step,
                shard=shard,
            ),
            shards,
        )

    parent = artifact.config_fingerprint(artifact.read_json(path / artifact.CONFIG))
    return make_batches, parent


def check_divisible(config: StudentConfig) -> None:
    """Refuses a mixture that the parts of a batch cannot all have.

    Raises:
        ValueError: If one source's share of the batch cannot be dealt out evenly.
    """
    parts = config.batch_parts
    if config.labeled_batch_size % parts:
        raise ValueError(
            f"expected labeled images of a batch to be divisible by {parts}, the "
            "larger of input_shards and model.batch_norm_groups, got "
            f"{config.labeled_batch_size}; change mixture.labeled_fraction or "
            "global_batch_size"
        )


def mixed_batches(
    labeled: Source,
    pseudo_labeled: Source,
    config: StudentConfig,
    *,
    num_classes: int,
    start_step: int = 0,
    shard: int = 0,
) -> Any:
    """Returns an endless dataset of one input shard's share of the batches.

    Labeled images come first, in each of the groups that batch-norm treats apart: all
    have the same share of them. The loss is the mean over the whole batch, so the
    labeled fraction is also the weight of the labeled images in the gradient.
    """
    shards = config.input_shards
    streams = (
        data.training_batches(
            labeled,
            config,
            batch_size=config.labeled_batch_size // shards,
            make_target=train.hard_targets(config, num_classes=num_classes),
            start_step=start_step,
            stream=0,
            shard=shard,
        ),
        data.training_batches(
            pseudo_labeled,
            config,
            batch_size=config.pseudo_labeled_batch_size // shards,
            make_target=pseudo_targets(config, num_classes=num_classes),
            start_step=start_step,
            stream=1,
            shard=shard,
        ),
    )
    groups = config.batch_parts // shards

    def mix(first: Any, second: Any) -> Any:
        """Returns both, as equal groups of the same mixture."""
        sides = [
            tf.reshape(side, [groups, side.shape[0] // groups, *side.shape[1:]])
            for side in (first, second)
        ]
        mixed = tf.concat(sides, axis=1)
        return tf.reshape(mixed, [-1, *first.shape[1:]])

    batches = tf.data.Dataset.zip(streams).map(
        lambda first, second: {name: mix(first[name], second[name]) for name in first}
    )
    return batches.prefetch(1)  # Else the step would wait for the copying.


def pseudo_targets(config: StudentConfig, *, num_classes: int) -> data.MakeTarget:
    """Returns the function from a pseudo-labeled example to its target [K].

    Hard pseudo-labels are smoothed like labels; distributions are not.
    """
    mixture = config.mixture
    if mixture.target_kind == "hard":
        return train.hard_targets(config, num_classes=num_classes)
    temperature = mixture.temperature if mixture.target_kind == "sharpened" else 1.0

    def make_target(example: dict[str, Any]) -> Any:
        return targets.soft_target(
            example["top_labels"],
            example["top_probabilities"],
            num_classes=num_classes,
            temperature=temperature,
        )

    return make_target
