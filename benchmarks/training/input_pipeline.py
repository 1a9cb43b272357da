"""Compares training's input pipeline with a bare decoder, in images per second.

  python -m benchmarks.training.input_pipeline

JPEGs as large as ImageNet's lie in TFRecords, in the page cache. Four ways read them,
each on all cores:

* `ours`: `classifier.training.input_pipeline.training_batches` as training calls
  it, with the recipe resnet_rs_50_160: crop, mirror, RandAugment, targets, batches.
* `mixture`: `student.training.mixture.mixed_batches`, what a student trains on: a
  quarter of each batch as above, the rest out of a written dataset, with targets
  rebuilt from the top classes.
* `crop`: `ours` without RandAugment.
* `decoder`: `tf.io.decode_jpeg` of the whole images, and nothing else, with the same
  options.

The second table has the number of such cores with which `ours` prepares images as fast
as the published networks were trained.

All ways have a turn in each round; figures and ratios are medians over the rounds. A
turn begins with a new iterator, so that nothing is read ahead during other turns, and
counts after a warm-up. TensorFlow is deterministic, as in training. The last line is
all figures as JSON.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.measuring import photographs
from benchmarks.measuring.goals import Verdict, as_json, log_tables
from benchmarks.measuring.turns import Figures, Rounds, repeat, take_turns
from classifier.training import presets
from classifier.training.config import TrainConfig
from stage import cli
from stage.flags import CommandFlags
from stage.system import num_cores

FLAGS = CommandFlags()
_TURN_SECONDS = FLAGS.number(
    "turn_seconds", 1.0, "Seconds per turn, without the warm-up.", lower_bound=0.0
)

#: Distinct images, 56 MB: more than the caches next to a core hold.
NUM_IMAGES = 512
#: Few, because opening a file costs as much as reading several images.
NUM_FILES = 8
#: Each file is listed this often, for long epochs: an epoch ends in filling a buffer.
REPEATS = 64
NUM_CLASSES = 1000
#: A turn begins with filling this. The cost per image does not depend on it; the
#: recipes' 10,000 encoded images are a gigabyte.
SHUFFLE_BUFFER = 256
#: Enough to keep the cores busy between two batches, few enough for short turns.
BATCH = 32
ROUNDS = 15
#: Rounds of the second table, which has many rows.
SIZE_ROUNDS = 3
#: Duration of the warm-up as a share of the turn's.
WARM_UP_SHARE = 0.5
#: Minimum ratio of ours and of the mixture to the decoder.
GOAL = 0.7
SPEED = "images_per_second"
#: By way: the name of its ratio to the decoder.
RATIOS = {"ours": "ratio_to_decoder", "mixture": "mixture_ratio_to_decoder"}
#: Number of classes per pseudo-label.
TOP_K = 5
#: Side of the first table's images: the smallest networks' need most of them.
SIZE = 160
#: Published milliseconds of a training step on TPUv3, from the README of the code that
#: ResNet-RS was trained with (resnet_rs in tensorflow/tpu), and images per step. Where
#: these did not fit it took half as many, so the large networks' speeds are upper
#: bounds. The README does not say whether the time is per chip or per core.
STEP_MILLISECONDS = {
    "resnet_rs_50_160": 70,
    "resnet_rs_101_160": 120,
    "resnet_rs_101_192": 170,
    "resnet_rs_152_192": 240,
    "resnet_rs_152_224": 320,
    "resnet_rs_152_256": 410,
    "resnet_rs_200_256": 570,
    "resnet_rs_270_256": 780,
    "resnet_rs_350_256": 1100,
    "resnet_rs_350_320": 1630,
    "resnet_rs_420_320": 2090,
}
STEP_IMAGES = 128
PUBLISHED = {name: 1000 * STEP_IMAGES / ms for name, ms in STEP_MILLISECONDS.items()}


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    by_size = {config.image.size: config for config in presets.PUBLISHED.values()}
    smallest = by_size.pop(SIZE)
    no_noise = dataclasses.replace(smallest.augment, num_ops=0)
    with tempfile.TemporaryDirectory() as directory:
        source = open_photographs(pathlib.Path(directory))
        pseudo_labeled = open_pseudo_labeled(pathlib.Path(directory, "dataset"), source)
        ways = {
            "ours": ours(source, smallest),
            "mixture": mixture(source, pseudo_labeled),
            "crop": ours(source, dataclasses.replace(smallest, augment=no_noise)),
            "decoder": decoder(source),
        }
        rounds = _take_turns(ways, ROUNDS)
        sizes = {size: ours(source, config) for size, config in by_size.items()}
        others = _take_turns(sizes, SIZE_ROUNDS)
    _report(rounds, {SIZE: rounds.medians(SPEED)["ours"], **others.medians(SPEED)})


def open_photographs(directory: pathlib.Path) -> Any:
    """Writes JPEGs as TFRecords, and opens them as a source with long epochs."""
    from classifier.data.sources import open_source

    rng = np.random.default_rng(0)
    names = directory / "names.txt"
    names.write_text("".join(f"class {label}\n" for label in range(NUM_CLASSES)))
    records = (
        photographs.make_example(jpeg, label=int(rng.integers(NUM_CLASSES)))
        for jpeg in photographs.make_jpegs(rng, NUM_IMAGES)
    )
    for number in range(NUM_FILES):
        path = directory / f"photographs-{number:05d}.tfrecord"
        photographs.write_tfrecord(
            path, itertools.islice(records, NUM_IMAGES // NUM_FILES)
        )
    return _repeated(
        open_source(f"tfrecord:{directory}/*.tfrecord", class_names_file=str(names))
    )


def _repeated(source: Any) -> Any:
    return dataclasses.replace(source, shards=source.shards * REPEATS)


def ours(source: Any, config: TrainConfig) -> Any:
    """Returns training's dataset of batches."""
    from classifier.training import input_pipeline, trainer

    return input_pipeline.training_batches(
        source,
        dataclasses.replace(config, shuffle_buffer=SHUFFLE_BUFFER),
        batch_size=BATCH,
        make_target=trainer.hard_targets(config, num_classes=NUM_CLASSES),
    )


def open_pseudo_labeled(directory: pathlib.Path, source: Any) -> Any:
    """Writes the images of a source as a pseudo-labeled dataset, and opens it."""
    from pseudo_label.dataset import records as dataset_records
    from stage import artifact
    from student.training import mixture as student_mixture

    rng = np.random.default_rng(1)
    artifact.start_or_resume(directory, {})
    files = source.files[:NUM_FILES]
    shards = [list(_pseudo_labels(source, file, rng)) for file in files]
    for index, records in enumerate(shards):
        name = dataset_records.shard_name(index, NUM_FILES)
        photographs.write_tfrecord(directory / name, records)
    dataset_records.write_metadata(
        str(directory),
        dataset_records.features(source.class_names, top_k=TOP_K),
        shard_lengths=list(map(len, shards)),
        num_bytes=sum(len(record) for records in shards for record in records),
    )
    artifact.complete(directory, seconds=0.0)
    opened = student_mixture.open_pseudo_labeled(str(directory), source.class_names)
    return _repeated(opened.source)


def mixture(labeled: Any, pseudo_labeled: Any) -> Any:
    """Returns the student's dataset of batches."""
    from student.training import mixture as student_mixture
    from student.training import presets

    recipes = presets.PRESETS.values()
    config = dataclasses.replace(
        next(recipe for recipe in recipes if recipe.image.size == SIZE),
        shuffle_buffer=SHUFFLE_BUFFER,
        global_batch_size=BATCH,
    )
    return student_mixture.mixed_batches(
        labeled, pseudo_labeled, config, num_classes=NUM_CLASSES
    )


def decoder(source: Any) -> Any:
    """Returns a dataset of batches uint8 [B,3], the last pixel of each image."""
    import tensorflow as tf

    from classifier.data.readers import files_dataset
    from classifier.training import input_pipeline

    def last_pixel(example: dict[str, Any]) -> Any:
        # Decodes everything, and copies next to nothing.
        return tf.io.decode_jpeg(example["image"], channels=3)[-1, -1]

    options = tf.data.Options()
    options.autotune.enabled = False  # Faster without, as is ours.
    return (
        files_dataset(source.files)
        .interleave(
            source.reader.read,
            cycle_length=input_pipeline.INTERLEAVE,
            num_parallel_calls=min(input_pipeline.INTERLEAVE, num_cores()),
            deterministic=True,
        )
        .repeat()
        .map(last_pixel, num_parallel_calls=num_cores())
        .batch(BATCH, drop_remainder=True)
        .prefetch(input_pipeline.PREFETCH)
        .with_options(options)
    )


def measure(
    batches: Iterator[Any],
    *,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    processor_clock: Callable[[], float] = time.process_time,
) -> Figures:
    """Returns the speed after a warm-up, and cores_at_work, CPU seconds per second."""
    step = functools.partial(next, batches)
    step()  # One-time initialization.
    repeat(step, seconds=WARM_UP_SHARE * seconds, clock=clock)
    processor_started = processor_clock()
    count, elapsed = repeat(step, seconds=seconds, clock=clock)
    cores = (processor_clock() - processor_started) / elapsed
    return {SPEED: BATCH * count / elapsed, "cores_at_work": cores}


def _pseudo_labels(source: Any, file: Any, rng: np.random.Generator) -> Iterator[bytes]:
    """Yields a record with random labels for each image of a file."""
    from classifier.data.examples import key_text
    from classifier.data.python_reader import read_examples
    from pseudo_label.dataset import records as dataset_records

    for row, example in enumerate(read_examples(source.reader, [file])):
        top = rng.choice(NUM_CLASSES, TOP_K, replace=False).tolist()
        probabilities = -np.sort(-rng.dirichlet(np.ones(TOP_K + 1))[:TOP_K])
        yield dataset_records.serialize(
            dataset_records.Record(
                image=example.image,
                label=top[0],
                confidence=float(probabilities[0]),
                top_labels=top,
                top_probabilities=probabilities.tolist(),
                key=key_text(example.key),
                source=dataset_records.source_name(0),
                row=row,
                teacher="0123",
                round=1,
                copy=0,
            )
        )


def _take_turns(ways: Mapping[Any, Any], rounds: int) -> Rounds[Any]:
    def measure_way(way: Any) -> Figures:
        # The iterator and its threads end with the call.
        return measure(iter(ways[way]), seconds=_TURN_SECONDS.value)

    return take_turns(ways, measure_way, rounds=rounds)


def _report(rounds: Rounds[str], by_size: dict[int, float]) -> None:
    """Prints tables and JSON; `by_size` is the speed of ours by image size."""
    cores = num_cores()
    cli.log(f"{cores} cores")
    verdicts = [
        Verdict(name, rounds.ratio(way, "decoder", SPEED), at_least=GOAL)
        for way, name in RATIOS.items()
    ]
    log_tables(rounds, verdicts)
    cli.log(f"\n{'':20}TPUv3's images/s  ours and core  cores for as many")
    needed = {}
    for name, published in PUBLISHED.items():
        per_core = by_size[presets.PUBLISHED[name].image.size] / cores
        needed[name] = round(published / per_core, 4)
        cli.log(f"{name:20}{published:16.0f}  {per_core:13.0f}  {needed[name]:17.1f}")
    figures = {
        "num_cores": cores,
        SPEED: rounds.medians(SPEED),
        "cores_at_work": rounds.medians("cores_at_work"),
        "rounds": rounds.all(SPEED),
        **as_json(verdicts),
        "images_per_second_by_size": by_size,
        "cores_per_chip": needed,
    }
    cli.log(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main, FLAGS)
