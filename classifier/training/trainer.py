"""A training run from sources of images to an exported classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import keras
import tensorflow as tf

from classifier.data import folds, inspection, remarks
from classifier.data.class_names import check_same_classes
from classifier.data.sources import Source, open_source
from classifier.export.facts import Evaluation
from classifier.models import factory
from classifier.training import consistency, initial_weights, input_pipeline, loop
from classifier.training.backend import Backend
from classifier.training.config import TrainConfig
from classifier.training.devices import Devices, RunContext
from classifier.training.export_run import export_run
from classifier.training.initial_weights import InitialWeights
from classifier.training.input_pipeline import MakeTarget
from stage import licenses
from stage.licenses import Ledger

#: Number of images of each source that are decoded before training starts. Of the
#: others only the headers are read: one that is broken stops the run.
NUM_CHECKED = 10_000

#: What TensorFlow raises for images that it cannot read or decode.
_READ_ERRORS = (
    tf.errors.InvalidArgumentError,
    tf.errors.FailedPreconditionError,  # Another number of images than expected.
    tf.errors.DataLossError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
)

#: Maps the number of steps done and the index of an input shard to the dataset of this
#: shard's share of the batches that follow.
MakeBatches = Callable[[int, int], tf.data.Dataset]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """Two sources of labeled images with the same classes.

    Attributes:
        labeled: Images to learn from.
        evaluation: Images to evaluate on, never learned from.
        class_names: K names by label.
    """

    labeled: Source
    evaluation: Source
    class_names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRun(Sources):
    """A training run with checked inputs.

    Attributes:
        config: The recipe.
        model: Network with its initial weights.
        initial_weights: Origin of the initial weights; None for random ones.
        left_out: Fold of the labeled images not learned from; None if all are used.
        unlabeled: Images of `classifier.training.unlabeled`, as one shard with numbered
            examples; None if there are none.
        excluded: Descriptions of the sources whose images are not among `unlabeled`.
        ledger: Weights and images that the classifier is made of.
    """

    config: TrainConfig
    model: keras.Model
    initial_weights: dict[str, Any] | None
    left_out: dict[str, Any] | None = None
    unlabeled: Source | None = None
    excluded: tuple[dict[str, Any], ...] = ()
    ledger: Ledger = ()

    def describe(self) -> dict[str, Any]:
        """Returns the content of the classifier's `config.json`.

        Of a run without unlabeled images it says nothing about them.
        """
        config = dataclasses.asdict(self.config)
        if self.unlabeled is None:
            del config["consistency"]
        return {
            "config": config,
            "labeled": self.labeled.describe(),
            "evaluation": self.evaluation.describe(),
            "class_names": self.class_names,
            "initial_weights": self.initial_weights,
            "left_out": self.left_out,
            **({"unlabeled": self.unlabeled.describe()} if self.unlabeled else {}),
            **({"excluded": self.excluded} if self.excluded else {}),
        }

    def labeled_batches(self, start_step: int, shard: int) -> Any:
        """Returns batches of labeled images only, see `MakeBatches`."""
        config = self.config
        return input_pipeline.training_batches(
            self.labeled,
            config,
            batch_size=config.global_batch_size // config.input_shards,
            make_target=hard_targets(config, num_classes=len(self.class_names)),
            start_step=start_step,
            shard=shard,
        )


def open_sources(*, labeled: str, evaluation: str, **how: Any) -> Sources:
    """Lists two sources of labeled images; `how` are arguments of `open_source`.

    Raises:
        ValueError: If one source has no labels, or their classes differ.
        FileNotFoundError: If one does not exist.
    """
    sources = [open_source(spec, **how) for spec in (labeled, evaluation)]
    class_names, other_names = (source.labeled_class_names() for source in sources)
    check_same_classes(class_names, other_names, evaluation)
    return Sources(labeled=sources[0], evaluation=sources[1], class_names=class_names)


def inspect(sources: Sources) -> Sources:
    """Returns the sources with what reading all their files has found.

    Raises:
        ValueError: If there is no image, or one that cannot be trained on.
        OSError: If the files cannot be read.
    """
    labeled, evaluation = (
        inspection.inspect(source, for_training=True)
        for source in (sources.labeled, sources.evaluation)
    )
    return dataclasses.replace(sources, labeled=labeled, evaluation=evaluation)


def open_run(
    config: TrainConfig,
    sources: Sources,
    *,
    initial: InitialWeights | None = None,
    new_head: bool = False,
    stated: Mapping[str, str] = MappingProxyType({}),
) -> TrainingRun:
    """Builds the network and decodes the first images of both sources.

    `initial` are the initial weights, None for random ones. With `new_head`, the head
    starts with random weights in any case. `stated` has the licenses of
    `licenses.parse`.

    Raises:
        ValueError: If there are fewer files than input shards, an image cannot be
            decoded, the network cannot be built, or the weights do not fit it.
    """
    if new_head and initial is None:
        raise ValueError("--new_head needs --init_from: random weights have a new head")
    class_names = sources.class_names
    sources = inspect(sources)
    check_input_shards(sources.labeled, config)
    model = build(config, num_classes=len(class_names), dtype=config.dtype)
    origin, ledger = None, [sources.labeled.origin(stated.get("labeled"))]
    if initial is not None:
        initial_weights.load(model, initial, class_names=class_names, new_head=new_head)
        origin = initial_weights.to_json(initial, new_head=new_head)
        ledger += licenses.trace(
            initial.weights.spec, initial.weights.origin, stated.get("init_from")
        )
    factory.freeze(model, stages=config.frozen_stages)
    if config.frozen_batch_norm:
        factory.freeze_batch_norm(model)
    for source in (sources.labeled, sources.evaluation):
        input_pipeline.check_decoding(source, count=NUM_CHECKED)
    return TrainingRun(
        **vars(sources),
        config=config,
        model=model,
        initial_weights=origin,
        ledger=licenses.merge(ledger),
    )


def leave_out(run: TrainingRun, fold: folds.Fold) -> TrainingRun:
    """Returns the run that learns from all labeled images except one fold.

    Raises:
        ValueError: If there are too few images for the folds, or too few files for
            the input shards.
        OSError: If the images cannot be read.
    """
    fold_of_files = folds.assign_source(run.labeled, fold.folds)
    labeled = run.labeled.subset([numbers != fold.fold for numbers in fold_of_files])
    check_input_shards(labeled, run.config)
    left_out = {**dataclasses.asdict(fold), "labeled": run.labeled.describe()}
    return dataclasses.replace(run, labeled=labeled, left_out=left_out)


def check_files(source: Source, config: TrainConfig) -> None:
    """Raises ValueError unless there is a file for each input shard."""
    if len(source.files) < config.input_shards:
        raise ValueError(
            f"{source.spec}: expected at least {config.input_shards} files, one for "
            f"each of input_shards, got {len(source.files)}"
        )


def check_input_shards(source: Source, config: TrainConfig) -> None:
    """Raises ValueError unless there is a file with examples for each input shard."""
    check_files(source, config)
    count = config.input_shards
    for shard in range(count):
        if not source.part(shard, count).num_examples:
            raise ValueError(
                f"{source.spec}: expected examples for each of {count} input_shards, "
                f"got none in the files of shard {shard}"
            )


def build(
    config: TrainConfig,
    *,
    num_classes: int,
    dtype: Literal["float32", "bfloat16"] = "float32",
) -> keras.Model:
    """Returns the network of a recipe with random weights."""
    return factory.build_network(
        config.model,
        image_size=config.image.size,
        num_classes=num_classes,
        seed=config.seed,
        dtype=dtype,
    )


def hard_targets(config: TrainConfig, *, num_classes: int) -> MakeTarget:
    """Returns the function from a labeled example to its smoothed target [K].

    A share `label_smoothing` of the mass is spread evenly over all K classes, the
    label's own included. Fails inside tf.data on a label outside 0..K-1.
    """

    def make_target(example: dict[str, Any]) -> Any:
        label = example["label"]
        tf.debugging.assert_non_negative(label, message="an image has no label")
        tf.debugging.assert_less(
            label,
            tf.constant(num_classes, label.dtype),
            message=f"a label is not in 0..{num_classes - 1}",
        )
        smoothing = config.label_smoothing
        return tf.one_hot(label, num_classes) * (1.0 - smoothing) + (
            smoothing / num_classes
        )

    return make_target


def train(
    run: TrainingRun,
    make_batches: MakeBatches,
    context: RunContext,
    *,
    check_others: Callable[[], None] = lambda: None,
) -> None:
    """Trains, evaluates and exports the classifier in the started workdir.

    When the images cannot be read, `check_others` should raise ValueError if those in
    the batches that are not of the run are at fault.

    Raises:
        ValueError: If an image cannot be decoded, or the files have changed.
        FloatingPointError: If training diverges.
        PreemptedError: If SIGTERM came; the state is saved.
    """
    config, devices = run.config, context.devices
    tf.config.experimental.enable_op_determinism()
    for line in remarks.describe(run.labeled, run.evaluation, side=config.image.size):
        context.log(line)
    context.log(_describe(run.model))
    if run.initial_weights is not None:
        context.log(initial_weights.describe(run.initial_weights, config))
    context.log(
        f"{len(run.class_names)} classes, {config.num_steps} steps of "
        f"{config.global_batch_size} images, {config.dtype}, {devices.describe()}"
    )
    if devices.remark:
        context.log(devices.remark)
    try:
        evaluation = _fit(run, make_batches, context)
    except _READ_ERRORS as error:
        for source in (run.labeled, run.evaluation):
            _check_again(source)
        check_others()
        if isinstance(error, tf.errors.InvalidArgumentError):
            raise
        raise ValueError(f"the images cannot be read: {error.message}") from error
    if devices.is_first:
        export_run(context.workdir, evaluation)


def _fit(
    run: TrainingRun, make_batches: MakeBatches, context: RunContext
) -> Evaluation:
    config, devices = run.config, context.devices
    shards = devices.input_shards(config.input_shards)
    return loop.fit(
        _open_backend(run, devices),
        config,
        make_batches=lambda start_step: input_pipeline.concat_batches(
            [make_batches(start_step, shard) for shard in shards]
        ),
        make_evaluation_batches=lambda: input_pipeline.evaluation_batches(
            run.evaluation.part(devices.process, devices.num_processes),
            config.image,
            batch_size=config.global_batch_size // devices.num_processes,
        ),
        context=context,
    )


def _check_again(source: Source) -> None:
    """Raises ValueError if the images have changed, or one cannot be decoded."""
    again = inspection.inspect(
        dataclasses.replace(source, content=""), for_training=True
    )
    if again.num_examples != source.num_examples:
        raise ValueError(
            f"{source.spec}: the files have changed while training: expected "
            f"{source.num_examples:,} images, found {again.num_examples:,}"
        )
    input_pipeline.check_decoding(source)


def _open_backend(run: TrainingRun, devices: Devices) -> Backend:
    # The averaged network is evaluated and exported in float32.
    num_classes = len(run.class_names)
    ema_model = build(run.config, num_classes=num_classes)
    thresholds = {}
    if run.unlabeled is not None:
        thresholds = consistency.initial_state(
            run.config.consistency,
            num_classes=num_classes,
            num_images=run.unlabeled.num_examples,
        )
    if devices.backend == "jax":
        from classifier.training.backend_jax import JaxBackend

        return JaxBackend(run.model, ema_model, run.config, thresholds)
    from classifier.training.backend_tensorflow import TensorFlowBackend

    return TensorFlowBackend(run.model, ema_model, run.config, thresholds)


def _describe(model: keras.Model) -> str:
    if keras.backend.backend() != "tensorflow":
        return factory.describe(model)
    from classifier.models import flops

    return flops.describe(model)
