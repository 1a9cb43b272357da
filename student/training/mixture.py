"""Batches with a fixed number of labeled and of pseudo-labeled images."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from classifier.data.class_names import check_same_classes
from classifier.data.sources import Source, open_source
from classifier.training import input_pipeline, trainer
from classifier.training.trainer import MakeBatches, TrainingRun
from pseudo_label.dataset import records, targets
from stage import artifact
from student.training.config import StudentConfig


@dataclasses.dataclass(frozen=True)
class PseudoLabeled:
    """The records of `beam_jobs.write_records`, and the fingerprint of their config."""

    source: Source
    fingerprint: str


def open_pseudo_labeled(directory: str, class_names: tuple[str, ...]) -> PseudoLabeled:
    """Opens a written dataset with the K given classes.

    Raises:
        ValueError: If it is incomplete, lacks records, or has other classes.
        FileNotFoundError: If it does not exist.
    """
    path = artifact.require_complete(directory, "pseudo_labeled")
    if not (path / "features.json").exists():
        raise ValueError(
            f"{directory}: expected the output of beam_jobs.write_records, got no "
            "features.json in it"
        )
    source = open_source(
        f"tfds:{os.path.abspath(path)}:{records.SPLIT}",
        more_features=records.TARGET_FEATURES,
    )
    records.check_size(path)
    check_same_classes(class_names, source.labeled_class_names(), directory)
    config = artifact.read_config(path)
    return PseudoLabeled(source, artifact.config_fingerprint(config))


def check_records(
    pseudo_labeled: PseudoLabeled | None,
    config: StudentConfig,
    num_classes: int,
    *,
    count: int = -1,
) -> None:
    """Decodes the first `count` records, if any (-1: all), and makes their targets.

    Raises:
        ValueError: If that is not possible for one; lists the first few.
    """
    if pseudo_labeled is not None:
        input_pipeline.check_decoding(
            pseudo_labeled.source,
            make_target=pseudo_targets(config, num_classes=num_classes),
            count=count,
        )


def plan_batches(
    run: TrainingRun, config: StudentConfig, pseudo_labeled: PseudoLabeled | None
) -> MakeBatches:
    """Returns the function that makes the student's batches.

    Without pseudo-labeled images, all images of a batch are labeled. Raises ValueError
    if the parts of a batch cannot hold both kinds of images.
    """
    if pseudo_labeled is None:
        return run.labeled_batches
    source = pseudo_labeled.source
    least = 2 * config.batch_parts
    if config.global_batch_size < least:
        raise ValueError(
            f"expected global_batch_size to be at least {least}, a labeled and a "
            f"pseudo-labeled image for each of {config.batch_parts} parts, the larger "
            "of input_shards and model.batch_norm_groups, got "
            f"{config.global_batch_size}"
        )
    trainer.check_input_shards(source, config)
    return lambda start_step, shard: mixed_batches(
        run.labeled,
        source,
        config,
        num_classes=len(run.class_names),
        start_step=start_step,
        shard=shard,
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

    They are those of `input_pipeline.mix_batches`. The loss is the mean over the batch,
    so that the labeled fraction is also the weight of the labeled images in the
    gradient.
    """
    shards = config.input_shards
    sources = (
        (labeled, config.labeled_batch_size, trainer.hard_targets),
        (pseudo_labeled, config.pseudo_labeled_batch_size, pseudo_targets),
    )
    one, other = (
        input_pipeline.training_batches(
            source,
            config,
            batch_size=batch_size // shards,
            make_target=make_targets(config, num_classes=num_classes),
            start_step=start_step,
            stream=stream,
            shard=shard,
        )
        for stream, (source, batch_size, make_targets) in enumerate(sources)
    )
    return input_pipeline.mix_batches(one, other, config, kind="pseudo_labeled")


def pseudo_targets(
    config: StudentConfig, *, num_classes: int
) -> input_pipeline.MakeTarget:
    """Returns the function from a pseudo-labeled example to its target [K].

    Only hard targets are smoothed.
    """
    mixture = config.mixture
    if mixture.target_kind == "hard":
        return trainer.hard_targets(config, num_classes=num_classes)
    temperature = 1.0 if mixture.target_kind == "soft" else mixture.temperature

    def make_target(example: dict[str, Any]) -> Any:
        return targets.soft_target(
            example["top_labels"],
            example["top_probabilities"],
            num_classes=num_classes,
            temperature=temperature,
        )

    return make_target
