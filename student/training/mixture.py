"""The mixture: a fixed number of labeled and pseudo-labeled images in every batch."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from classifier.data.class_names import check_same_classes
from classifier.data.sources import Source, open_source
from classifier.training import input_pipeline, trainer
from classifier.training.losses import AMONG
from classifier.training.trainer import MakeBatches, TrainingRun
from pseudo_label.dataset import records, targets
from stage import artifact
from student.training.budget import Sizes
from student.training.config import StudentConfig


@dataclasses.dataclass(frozen=True)
class PseudoLabeled:
    """A dataset that `beam_jobs.write_records` has made.

    Attributes:
        source: Its records.
        fingerprint: Of what made it.
    """

    source: Source
    fingerprint: str


def open_pseudo_labeled(directory: str, class_names: tuple[str, ...]) -> PseudoLabeled:
    """Opens a written dataset.

    Args:
        directory: Where it is.
        class_names: K names by label that it must have.

    Raises:
        ValueError: If it is no such dataset, is not complete, or its classes differ.
        FileNotFoundError: If it is not there.
    """
    path = artifact.require_complete(directory, "pseudo_labeled")
    source = open_source(
        f"tfds:{os.path.abspath(path)}:{records.SPLIT}",
        more_features=records.TARGET_FEATURES,
    )
    check_same_classes(class_names, source.labeled_class_names(), directory)
    config = artifact.read_json(path / artifact.CONFIG)
    return PseudoLabeled(source, artifact.config_fingerprint(config))


def sizes(labeled: Source, pseudo_labeled: PseudoLabeled | None) -> Sizes:
    """Returns how much there is to learn from."""
    return Sizes(
        labeled=labeled.num_examples,
        pseudo_labeled=pseudo_labeled.source.num_examples if pseudo_labeled else 0,
    )


def plan_batches(
    run: TrainingRun, config: StudentConfig, pseudo_labeled: PseudoLabeled | None
) -> MakeBatches:
    """Returns the student's batches.

    Args:
        run: The labeled side.
        config: The mixture.
        pseudo_labeled: The other side; None for batches that are all labeled.

    Raises:
        ValueError: If the two cannot be mixed in equal parts.
    """
    if pseudo_labeled is None:
        return run.labeled_batches
    source = pseudo_labeled.source
    check_divisible(config)
    trainer.check_input_shards(source, config)

    def make_batches(start_step: int, shards: Sequence[int]) -> Any:
        return input_pipeline.over_shards(
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

    return make_batches


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
    `among/labeled` and `among/pseudo_labeled`, bool [B], tell the two apart.
    """
    shards = config.input_shards
    sides = (
        (labeled, config.labeled_batch_size, trainer.hard_targets),
        (pseudo_labeled, config.pseudo_labeled_batch_size, pseudo_targets),
    )
    streams = tuple(
        input_pipeline.training_batches(
            source,
            config,
            batch_size=batch_size // shards,
            make_target=make_targets(config, num_classes=num_classes),
            start_step=start_step,
            stream=stream,
            shard=shard,
        )
        for stream, (source, batch_size, make_targets) in enumerate(sides)
    )
    groups = config.batch_parts // shards
    batches = tf.data.Dataset.zip(streams).map(
        lambda first, second: _mix(first, second, groups=groups)
    )
    return batches.prefetch(1)  # Else the step would wait for the copying.


def _mix(labeled: dict[str, Any], other: dict[str, Any], *, groups: int) -> Any:
    """Returns one batch of two, as equal groups of the same mixture."""

    def concat(first: Any, second: Any) -> Any:
        sides = [
            tf.reshape(side, [groups, side.shape[0] // groups, *side.shape[1:]])
            for side in (first, second)
        ]
        return tf.reshape(tf.concat(sides, axis=1), [-1, *first.shape[1:]])

    mixed = {name: concat(labeled[name], other[name]) for name in labeled}
    lengths = [batch["target"].shape[0] for batch in (labeled, other)]
    is_labeled = concat(tf.ones(lengths[0], tf.bool), tf.zeros(lengths[1], tf.bool))
    return {
        **mixed,
        f"{AMONG}labeled": is_labeled,
        f"{AMONG}pseudo_labeled": ~is_labeled,
    }


def pseudo_targets(
    config: StudentConfig, *, num_classes: int
) -> input_pipeline.MakeTarget:
    """Returns the function from a pseudo-labeled example to its target [K].

    Hard pseudo-labels are smoothed like labels; distributions are not.
    """
    mixture = config.mixture
    if mixture.target_kind == "hard":
        return trainer.hard_targets(config, num_classes=num_classes)
    temperature = mixture.temperature if mixture.target_kind == "sharpened" else 1.0

    def make_target(example: dict[str, Any]) -> Any:
        return targets.soft_target(
            example["top_labels"],
            example["top_probabilities"],
            num_classes=num_classes,
            temperature=temperature,
        )

    return make_target
