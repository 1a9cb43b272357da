"""One training run, from sources to an exported classifier."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import keras
import tensorflow as tf
from etils import epath

from classifier import (
    artifact,
    data,
    export,
    initial_weights,
    losses,
    network,
    train_loop,
)
from classifier.backend_tensorflow import NUM_DEVICES, TensorFlowBackend
from classifier.class_names import check_same_classes
from classifier.config import TrainConfig
from classifier.data import MakeTarget
from classifier.sources import Source, open_source

#: Examples of each set looked at before work starts; a bad one further on stops the
#: run when it is met.
CHECKED_AHEAD = 10_000

#: From the number of steps done to the batches that follow.
MakeBatches = Callable[[int], Iterable[dict[str, Any]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A training run whose inputs are there and fit together.

    Attributes:
        config: The recipe.
        labeled: Images to learn from.
        evaluation: Images to be judged on, never learned from.
        class_names: K names by label, of both.
        model: The network, with the weights to start from.
        initial_weights: Where those came from; None if they are fresh.
    """

    config: TrainConfig
    labeled: Source
    evaluation: Source
    class_names: tuple[str, ...]
    model: keras.Model
    initial_weights: dict[str, Any] | None

    def describe(self) -> dict[str, Any]:
        """Returns what stands in the classifier's `config.json`."""
        return {
            "config": dataclasses.asdict(self.config),
            "labeled": self.labeled.describe(),
            "evaluation": self.evaluation.describe(),
            "class_names": self.class_names,
            "initial_weights": self.initial_weights,
        }

    def labeled_batches(self, start_step: int) -> Any:
        """Returns the batches from a step on, of labeled images alone."""
        return data.training_batches(
            self.labeled,
            self.config,
            batch_size=self.config.global_batch_size,
            make_target=hard_targets(self.config, num_classes=len(self.class_names)),
            start_step=start_step,
        )


def open_run(
    config: TrainConfig,
    *,
    labeled: str,
    evaluation: str,
    data_dir: str | None = None,
    class_names_file: str | None = None,
    init_from: str | None = None,
    new_head: bool = False,
) -> Run:
    """Opens both sets of images, looks at the first of them, and builds the network.

    Raises:
        ValueError: If the devices cannot share a batch, one set has no labels, their
            classes differ, an image cannot be decoded, or no such network can be built,
            or begun with those weights.
        FileNotFoundError: If one is not there.
    """
    config.per_device_batch_size(NUM_DEVICES)
    if new_head and init_from is None:
        raise ValueError("--new_head needs --init_from: without it all is new")
    sources = [
        open_source(spec, data_dir=data_dir, class_names_file=class_names_file)
        for spec in (labeled, evaluation)
    ]
    class_names = sources[0].labeled_class_names()
    check_same_classes(class_names, sources[1].labeled_class_names(), evaluation)
    model = build(config, num_classes=len(class_names))
    initial = None
    if init_from is not None:
        weights = initial_weights.open_weights(
            init_from, class_names=class_names, new_head=new_head
        )
        initial_weights.take_over(model, weights, new_head=new_head)
        initial = {"fingerprint": weights.fingerprint, "new_head": new_head}
    for source in sources:
        data.check_examples(source, num_classes=len(class_names), count=CHECKED_AHEAD)
    return Run(
        config=config,
        labeled=sources[0],
        evaluation=sources[1],
        class_names=class_names,
        model=model,
        initial_weights=initial,
    )


def build(config: TrainConfig, *, num_classes: int) -> keras.Model:
    """Returns the network of a recipe with fresh weights."""
    return network.build_network(
        config.model,
        image_size=config.image.size,
        num_classes=num_classes,
        seed=config.seed,
    )


def hard_targets(config: TrainConfig, *, num_classes: int) -> MakeTarget:
    """Returns the function from a labeled example to its smoothed target [K]."""

    def make_target(example: dict[str, Any]) -> Any:
        label = example["label"]
        tf.debugging.assert_non_negative(label, message="an image has no label")
        tf.debugging.assert_less(
            label,
            tf.constant(num_classes, label.dtype),
            message=f"a label is not in 0..{num_classes - 1}",
        )
        return losses.smooth_one_hot(
            label, num_classes=num_classes, label_smoothing=config.label_smoothing
        )

    return make_target


def train(
    run: Run,
    make_batches: MakeBatches,
    *,
    workdir: epath.PathLike,
    say: Callable[[str], None],
) -> None:
    """Trains, evaluates, exports and completes the classifier in `workdir`.

    Args:
        run: Which `artifact.begin` has written to the directory.
        make_batches: From the number of steps done to the batches that follow.
        workdir: The classifier's directory.
        say: Takes lines of progress.

    Raises:
        ValueError: If an image cannot be decoded, or has no label in range.
    """
    started = time.monotonic()
    config = run.config
    tf.config.experimental.enable_op_determinism()
    say(network.describe(run.model))
    say(
        f"{len(run.class_names)} classes, {config.num_steps} steps of "
        f"{config.global_batch_size} images"
    )
    backend = TensorFlowBackend(
        run.model, build(config, num_classes=len(run.class_names)), config
    )
    try:
        evaluation = train_loop.fit(
            backend,
            config,
            make_batches=make_batches,
            make_evaluation_batches=lambda: data.evaluation_batches(
                run.evaluation, config.image, batch_size=config.global_batch_size
            ),
            workdir=workdir,
            say=say,
        )
    except tf.errors.InvalidArgumentError as error:
        for source in (run.labeled, run.evaluation):
            data.check_examples(source, num_classes=len(run.class_names))
        raise error
    export.export_classifier(
        backend.ema_model,
        workdir,
        image=config.image,
        class_names=run.class_names,
        evaluation=evaluation,
    )
    artifact.complete(workdir, seconds=time.monotonic() - started)
