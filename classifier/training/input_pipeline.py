"""Batches for training and evaluation, from any source.

The training stream is a pure function of the seed and the position in it: the order
of an epoch depends on (seed, epoch), the noise on an example on (seed, position). So a
run resumes exactly by starting the stream where it stopped; no iterator state is saved.
With several input shards, each is a stream over its own files, independent of the
process that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from classifier.data import preprocessing, randaugment
from classifier.data.config import ImageConfig
from classifier.data.examples import key_text
from classifier.data.readers import files_dataset, read_files
from classifier.data.sources import Source
from classifier.training.config import TrainConfig
from classifier.training.losses import MASK_PREFIX
from stage.system import num_cores
from stage.waiting import in_background

#: Files read concurrently, so that neighbors on disk do not stay neighbors.
INTERLEAVE = 16
#: Batches prepared before the training step asks for them.
PREFETCH = 4
#: Maximum number of bad examples in an error message.
MAX_LISTED = 10

#: No `if` or loop depends on a tensor: AutoGraph would only take seconds.
as_written = tf.autograph.experimental.do_not_convert
#: Maps an example of a source to its target, float32 [K].
MakeTarget = Callable[[dict[str, Any]], Any]
#: Maps an example of a source and its seed, int32 [2], to its part of a batch.
Prepare = Callable[[dict[str, Any], Any], dict[str, Any]]


def training_batches(
    source: Source,
    config: TrainConfig,
    *,
    batch_size: int,
    make_target: MakeTarget,
    start_step: int = 0,
    stream: int = 0,
    shard: int = 0,
) -> Any:
    """Returns an endless dataset of `{"image": uint8 [B,S,S,3], "target": [B,K]}`.

    Args:
        source: Examples, with the features that `make_target` needs.
        config: Preprocessing, noise and seed.
        batch_size: B, examples of each batch from this source and shard.
        make_target: Called inside tf.data, once for each example.
        start_step: Batches already consumed by an earlier run.
        stream: Index of the source among those mixed in one run.
        shard: Index of the input shard; only its files are opened.
    """
    return prepared_batches(
        source,
        config,
        labeled_example(config, make_target, strong_view),
        batch_size=batch_size,
        start_step=start_step,
        stream=stream,
        shard=shard,
    )


def prepared_batches(
    source: Source,
    config: TrainConfig,
    prepare: Prepare,
    *,
    batch_size: int,
    start_step: int = 0,
    stream: int = 0,
    shard: int = 0,
) -> Any:
    """Returns an endless dataset of batches of what `prepare` makes of an example.

    The other arguments are those of `training_batches`.
    """
    seed = 2 * config.seed + stream
    num_shards = config.input_shards
    examples = _endless(
        source.part(shard, num_shards),
        config,
        seed=seed,
        start=start_step * batch_size,
    )

    def prepare_at(index: Any, example: dict[str, Any]) -> dict[str, Any]:
        position = index * num_shards + shard
        return prepare(example, tf.cast(tf.stack([seed, position]), tf.int32))

    options = tf.data.Options()
    # Autotuning measures every operation on every image, which takes a tenth of the
    # time, and arrives at as many calls as there are cores.
    options.autotune.enabled = False
    return (
        examples.map(as_written(prepare_at), num_parallel_calls=num_cores())
        .batch(batch_size, drop_remainder=True)
        .prefetch(PREFETCH)
        .with_options(options)
    )


def labeled_example(
    config: TrainConfig, make_target: MakeTarget, make_view: Callable[..., Any]
) -> Prepare:
    """Returns the function to an example's target and its image as `make_view` has it.

    `make_view` maps an encoded image, the recipe and `seed` to uint8 [S,S,3].
    """

    def prepare(example: dict[str, Any], seed: Any) -> dict[str, Any]:
        image = make_view(example["image"], config, seed=seed)
        return {"image": image, "target": make_target(example)}

    return prepare


def strong_view(encoded: Any, config: TrainConfig, *, seed: Any) -> Any:
    """Returns an encoded image with the noise of the recipe, uint8 [S,S,3]."""
    crop_seed, noise_seed = tf.unstack(tf.random.split(seed, 2))
    image = preprocessing.training_image(encoded, config.image, seed=crop_seed)
    return randaugment.augment(image, config.augment, seed=noise_seed)


def mix_batches(labeled: Any, others: Any, config: TrainConfig, *, kind: str) -> Any:
    """Returns a dataset of the batches of two as one, of one input shard.

    Every batch-norm group has the same mixture, labeled images first. `mask/labeled`
    and `mask/KIND`, bool [B], are the masks of both. Other images without "target" have
    zeros; entries that labeled images do not have stay as they are.
    """
    groups = config.batch_parts // config.input_shards
    is_labeled, is_other = f"{MASK_PREFIX}labeled", f"{MASK_PREFIX}{kind}"

    def mix(labeled: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
        num_labeled, num_classes = labeled["target"].shape
        num_others = others["image"].shape[0]
        labeled = {**labeled, is_labeled: tf.ones(num_labeled, bool)}
        others = {
            "target": tf.zeros([num_others, num_classes]),
            is_labeled: tf.zeros(num_others, bool),
            **others,
        }
        mixed = {
            name: _concat_in_groups([labeled[name], others[name]], groups)
            for name in labeled
        }
        return {**others, **mixed, is_other: ~mixed[is_labeled]}

    batches = tf.data.Dataset.zip((labeled, others)).map(mix)
    return batches.prefetch(1)  # Otherwise the step would wait for the copying.


def _concat_in_groups(tensors: Sequence[Any], groups: int) -> Any:
    """Returns tensors [B,...] as one, in groups that hold an equal part of each."""
    grouped = [tf.reshape(t, [groups, -1, *t.shape[1:]]) for t in tensors]
    return tf.reshape(tf.concat(grouped, axis=1), [-1, *tensors[0].shape[1:]])


def concat_batches(datasets: Sequence[Any]) -> Any:
    """Returns a dataset of batches that concatenate those of all datasets, in order."""
    if len(datasets) == 1:
        return datasets[0]
    batches = tf.data.Dataset.zip(tuple(datasets)).map(
        lambda *parts: {
            name: tf.concat([part[name] for part in parts], axis=0) for name in parts[0]
        }
    )
    return batches.prefetch(1)  # Otherwise the step would wait for the copying.


def evaluation_batches(source: Source, config: ImageConfig, *, batch_size: int) -> Any:
    """Returns all examples once, in order, as full batches.

    A batch is `{"image": uint8 [B,S,S,3], "label": int64 [B], "weight": float32 [B]}`;
    the last one is padded with examples of weight 0.
    """
    if not source.files:
        return ()

    def prepare(example: dict[str, Any]) -> dict[str, Any]:
        return {
            "image": preprocessing.evaluation_image(example["image"], config),
            "label": example["label"],
            "weight": tf.constant(1.0),
        }

    has_all = tf.data.experimental.assert_cardinality(source.num_examples)
    examples = read_files(source.reader, source.files).apply(has_all)
    examples = examples.map(as_written(prepare), num_parallel_calls=tf.data.AUTOTUNE)
    padding = tf.data.Dataset.from_tensors(
        tf.nest.map_structure(
            lambda spec: tf.zeros(spec.shape, spec.dtype), examples.element_spec
        )
    )
    # With one example of padding more, a batch could hold nothing else.
    return (
        examples.concatenate(padding.repeat(batch_size - 1))
        .batch(batch_size, drop_remainder=True)
        .prefetch(PREFETCH)
    )


def check_decoding(
    source: Source, *, make_target: MakeTarget | None = None, count: int = -1
) -> None:
    """Decodes the first `count` images (-1: all), and makes their targets.

    Raises:
        ValueError: If that is not possible for one; lists the first few.
    """
    bad: list[str] = []
    examples = read_files(source.reader, source.files).take(count)
    try:
        for example in in_background(examples, should_stop=lambda: False):
            key = key_text(example["key"].numpy())
            bad += [f"{key}: {problem}" for problem in _problems(example, make_target)]
            if len(bad) >= MAX_LISTED:
                break
    except tf.errors.OpError as error:
        bad.append(f"cannot be read: {error.message}")
    if bad:
        raise ValueError(f"{source.spec}: {'; '.join(bad)}")


def _problems(example: dict[str, Any], make_target: MakeTarget | None) -> Iterator[str]:
    try:
        preprocessing.decode(example["image"])
    except tf.errors.InvalidArgumentError:
        yield "image cannot be decoded"
    if make_target is not None:
        try:
            make_target(example)
        except tf.errors.InvalidArgumentError as error:
            yield error.message.splitlines()[0]


def _endless(source: Source, config: TrainConfig, *, seed: int, start: int) -> Any:
    """Returns an endless dataset of (position, example) from position `start` on.

    An epoch of another number of examples is an error: one of none would not be left.
    """
    epoch, offset = divmod(start, source.num_examples)
    has_all = tf.data.experimental.assert_cardinality(source.num_examples)
    files = tf.data.Dataset.get_single_element(
        files_dataset(source.files).batch(len(source.files))
    )

    def one_epoch(epoch: Any) -> Any:
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(source.files)), seed=epoch_seed
        )
        ordered = {name: tf.gather(column, order) for name, column in files.items()}
        buffer_seed = tf.random.stateless_uniform(
            [2], epoch_seed, minval=None, maxval=None, dtype=tf.int64
        )
        examples = tf.data.Dataset.from_tensor_slices(ordered).interleave(
            source.reader.read,
            cycle_length=INTERLEAVE,
            num_parallel_calls=min(INTERLEAVE, num_cores()),
            deterministic=True,
        )
        buffer_size = max(1, config.shuffle_buffer // config.input_shards)
        return _shuffled(examples.apply(has_all), buffer_size, seed=buffer_seed[0])

    epochs = tf.data.Dataset.range(epoch, tf.int64.max)
    return epochs.flat_map(one_epoch).skip(offset).enumerate(start)


def _shuffled(dataset: Any, buffer_size: int, *, seed: Any) -> Any:
    """Returns `dataset.shuffle(buffer_size, seed)` without a stateful operation.

    `Dataset.shuffle` keeps its seeds in a resource. Inside `flat_map` that counts as
    state, and with deterministic operations TensorFlow runs a pipeline with state on
    one thread.
    """
    spec = dataset.element_spec
    leaves = tf.nest.flatten(spec)
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=tf.constant(buffer_size, tf.int64),
        # The two seeds that `shuffle` derives from one.
        seed=tf.constant(87654321, tf.int64),
        seed2=seed % (2**31 - 1),
        reshuffle_each_iteration=False,
        output_types=[leaf.dtype for leaf in leaves],
        output_shapes=[leaf.shape for leaf in leaves],
    )
    return tf.data.experimental.from_variant(shuffled, spec)
