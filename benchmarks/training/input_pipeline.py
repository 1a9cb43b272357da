"""Measures the input pipeline of training: images a second, beside a bare decoder.

  python -m benchmarks.training.input_pipeline

JPEGs as large as ImageNet's lie in TFRecords, which the operating system keeps in
memory. Four ways read them, each on all cores:

* `ours`: `classifier.training.input_pipeline.training_batches` as training calls
  it, with the recipe resnet_rs_50_160: crop, mirror, RandAugment, targets, batches.
* `mixture`: `student.training.mixture.mixed_batches`, what a student trains on: a
  quarter of each batch as above, the rest out of a written dataset, with targets
  rebuilt from the top classes.
* `crop`: `ours` without RandAugment.
* `decoder`: `tf.io.decode_jpeg` of the whole images, and nothing else, with the same
  options.

The second table is `ours` with the other published recipes: how many cores like these
make as many images as the published networks were trained on in the same time.

All of them take turns for several rounds; a figure is the median over the rounds, also
the ratio. A turn begins with an iterator of its own, so nobody works ahead while others
are measured, and counts once every core has had time to find work. TensorFlow is made
deterministic, as training makes it. The last line is all figures as JSON.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from benchmarks.measuring.photographs import make_photographs
from benchmarks.measuring.turns import take_turns
from classifier.training import presets
from classifier.training.config import TrainConfig
from stage import cli

_TURN_SECONDS = flags.DEFINE_float(
    "turn_seconds", 1.0, "Duration of one measurement.", lower_bound=0.0
)

#: The most frequent size in ImageNet, and a quality that makes its mean, 110 kB.
HEIGHT, WIDTH = 375, 500
QUALITY = 88
#: Different ones, 56 MB: more than the caches next to a core hold.
NUM_IMAGES = 512
#: The images are shifts of these, which are slow to make.
NUM_PICTURES = 16
#: Few, for to open a file costs as much as to read several images.
NUM_FILES = 8
#: Each file is listed so often, for epochs to be long: they end in filling a buffer.
REPEATS = 64
NUM_CLASSES = 1000
#: A turn begins with filling this. It costs the same an image at any size; the
#: recipes' 10,000 encoded images are a gigabyte.
SHUFFLE_BUFFER = 256
#: Enough for the cores to be busy between two batches, few enough for short turns.
BATCH = 32
ROUNDS = 15
#: Of the second table, which has many rows.
SIZE_ROUNDS = 3
#: Of a measurement's duration, spent before it and not counted.
WARM_UP_SHARE = 0.5
#: Share of the decoder's images that ours and the mixture are to make at the least.
GOAL = 0.7
#: Classes that a pseudo-label holds: the default of labeling.
TOP_K = 5
#: Side of the first table's images: the smallest networks', which need most of them.
SIZE = 160
#: Published milliseconds of a training step on TPUv3, from the README of the code that
#: ResNet-RS was trained with (resnet_rs in tensorflow/tpu), and a step's images. Where
#: these did not fit it took half as many, so the large networks' speeds are bounds from
#: above. It does not say whether the time is a chip's or a core's.
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

Clock = Callable[[], float]


class Speed(NamedTuple):
    """What one way reaches.

    Attributes:
        images: A second, on all cores together.
        cores: Seconds of processor time in a second: fewer than there are cores
            where some wait.
    """

    images: float
    cores: float


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    by_size = {config.image.size: config for config in presets.PUBLISHED.values()}
    smallest = by_size.pop(SIZE)
    with tempfile.TemporaryDirectory() as directory:
        source = open_photographs(pathlib.Path(directory))
        pseudo_labeled = open_pseudo_labeled(
            pathlib.Path(directory) / "dataset", source
        )
        rounds = take_turns(
            {
                "ours": ours(source, smallest),
                "mixture": mixture(source, pseudo_labeled),
                "crop": ours(source, _without_noise(smallest)),
                "decoder": decoder(source),
            },
            _speed,
            rounds=ROUNDS,
        )
        others = take_turns(
            {size: ours(source, config) for size, config in by_size.items()},
            _speed,
            rounds=SIZE_ROUNDS,
        )
    _tell(rounds, {SIZE: rounds["ours"], **others})


def open_photographs(directory: pathlib.Path) -> Any:
    """Writes JPEGs as TFRecords, and opens them as a source with long epochs."""
    from classifier.data.sources import open_source

    rng = np.random.default_rng(0)
    names = directory / "names.txt"
    names.write_text("".join(f"class {label}\n" for label in range(NUM_CLASSES)))
    jpegs = make_jpegs(rng, NUM_IMAGES)
    for number in range(NUM_FILES):
        path = directory / f"photographs-{number:05d}.tfrecord"
        _write(path, itertools.islice(jpegs, NUM_IMAGES // NUM_FILES), rng)
    source = open_source(
        f"tfrecord:{directory}/*.tfrecord", class_names_file=str(names)
    )
    return dataclasses.replace(source, shards=source.shards * REPEATS)


def make_jpegs(rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Yields encoded images with the spectrum of photographs, 1/frequency."""
    import tensorflow as tf

    pictures = make_photographs(rng, NUM_PICTURES, height=HEIGHT, width=WIDTH)
    for index in range(count):
        shift = tuple(rng.integers((HEIGHT, WIDTH)))
        picture = np.roll(pictures[index % NUM_PICTURES], shift, axis=(0, 1))
        yield tf.io.encode_jpeg(picture, quality=QUALITY).numpy()


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
    from pseudo_label.dataset import records as record
    from stage import artifact
    from student.training import mixture as student_mixture

    rng = np.random.default_rng(1)
    artifact.start_or_resume(directory, {})
    lengths, num_bytes = [], 0
    for index, file in enumerate(source.files[:NUM_FILES]):
        records = list(_pseudo_labels(source, file, rng))
        _write_records(directory / record.shard_name(index, NUM_FILES), records)
        lengths.append(len(records))
        num_bytes += sum(map(len, records))
    record.write_metadata(
        str(directory),
        record.features(source.class_names, top_k=TOP_K),
        shard_lengths=lengths,
        num_bytes=num_bytes,
    )
    artifact.complete(directory, seconds=0.0)
    opened = student_mixture.open_pseudo_labeled(
        str(directory), source.class_names
    ).source
    return dataclasses.replace(opened, shards=opened.shards * REPEATS)


def mixture(labeled: Any, pseudo_labeled: Any) -> Any:
    """Returns the dataset of batches that a student trains on."""
    from student.training import mixture as student_mixture
    from student.training import presets

    recipe = next(
        recipe for recipe in presets.PRESETS.values() if recipe.image.size == SIZE
    )
    config = dataclasses.replace(
        recipe, shuffle_buffer=SHUFFLE_BUFFER, global_batch_size=BATCH
    )
    return student_mixture.mixed_batches(
        labeled, pseudo_labeled, config, num_classes=NUM_CLASSES
    )


def decoder(source: Any) -> Any:
    """Returns a dataset of batches uint8 [B,3], the last pixel of each image."""
    import tensorflow as tf

    from classifier.data.readers import files_dataset
    from classifier.training import input_pipeline
    from stage.system import num_cores

    def last_pixel(example: dict[str, Any]) -> Any:
        # All is decoded, and next to nothing copied.
        return tf.io.decode_jpeg(example["image"], channels=3)[-1, -1]

    options = tf.data.Options()
    options.autotune.enabled = False  # It is faster without, as ours is.
    cores = num_cores()
    return (
        files_dataset(source.files)
        .interleave(
            source.reader.read,
            cycle_length=input_pipeline.INTERLEAVE,
            num_parallel_calls=min(input_pipeline.INTERLEAVE, cores),
            deterministic=True,
        )
        .repeat()
        .map(last_pixel, num_parallel_calls=cores)
        .batch(BATCH, drop_remainder=True)
        .prefetch(input_pipeline.PREFETCH)
        .with_options(options)
    )


def measure(
    batches: Iterator[Any],
    *,
    seconds: float,
    clock: Clock = time.perf_counter,
    processor_clock: Clock = time.process_time,
) -> Speed:
    """Returns the speed after a warm-up."""
    next(batches)  # Makes what is made once.
    started = clock()
    while clock() - started < WARM_UP_SHARE * seconds:
        next(batches)
    started, processor_started = clock(), processor_clock()
    count = 0
    elapsed = 0.0
    while elapsed < seconds or count == 0:
        next(batches)
        count += BATCH
        elapsed = clock() - started
    return Speed(count / elapsed, (processor_clock() - processor_started) / elapsed)


def _write(
    path: pathlib.Path, jpegs: Iterator[bytes], rng: np.random.Generator
) -> None:
    import tensorflow as tf

    from classifier.data.readers import IMAGE_FEATURE, LABEL_FEATURE

    def record(jpeg: bytes) -> bytes:
        label = int(rng.integers(NUM_CLASSES))
        feature = {
            IMAGE_FEATURE: tf.train.Feature(bytes_list={"value": [jpeg]}),
            LABEL_FEATURE: tf.train.Feature(int64_list={"value": [label]}),
        }
        features = tf.train.Features(feature=feature)
        serialized: bytes = tf.train.Example(features=features).SerializeToString()
        return serialized

    _write_records(path, map(record, jpegs))


def _write_records(path: pathlib.Path, records: Iterable[bytes]) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def _pseudo_labels(source: Any, file: Any, rng: np.random.Generator) -> Iterator[bytes]:
    """Yields a record for each image of a file, labeled by chance."""
    from classifier.data.examples import key_text
    from classifier.data.python_reader import read_examples
    from pseudo_label.dataset import records as record

    for row, example in enumerate(read_examples(source.reader, [file])):
        top = rng.choice(NUM_CLASSES, TOP_K, replace=False).tolist()
        probabilities = -np.sort(-rng.dirichlet(np.ones(TOP_K + 1))[:TOP_K])
        yield record.serialize(
            record.Record(
                image=example.image,
                label=top[0],
                confidence=float(probabilities[0]),
                top_labels=top,
                top_probabilities=probabilities.tolist(),
                key=key_text(example.key),
                source=record.source_name(0),
                row=row,
                teacher="0123",
                round=1,
                copy=0,
            )
        )


def _without_noise(config: TrainConfig) -> TrainConfig:
    augment = dataclasses.replace(config.augment, num_ops=0)
    return dataclasses.replace(config, augment=augment)


def _speed(dataset: Any) -> Speed:
    # The iterator ends with the call, and its threads with it.
    return measure(iter(dataset), seconds=_TURN_SECONDS.value)


def _median(speeds: Sequence[Speed]) -> Speed:
    return Speed(*map(statistics.median, zip(*speeds, strict=True)))


def _tell(
    rounds: Mapping[str, Sequence[Speed]], by_size: Mapping[int, Sequence[Speed]]
) -> None:
    from stage.system import num_cores as count_cores

    num_cores = count_cores()
    cli.log(f"{'':10}images/s  and core  cores at work, of {num_cores}")
    speeds = {name: _median(turns) for name, turns in rounds.items()}
    for name, (images, cores) in speeds.items():
        cli.log(f"{name:10}{images:8.0f}  {images / num_cores:8.0f}  {cores:13.2f}")
    cli.log("")
    ratios = {}
    for name in ("ours", "mixture"):
        ratios[name] = _ratio(rounds[name], rounds["decoder"])
        verdict = "met" if ratios[name] >= GOAL else "missed"
        cli.log(
            f"{name}: goal of {GOAL} of the decoder's images: {verdict}, {ratios[name]}"
        )
    cli.log("")
    of_size = {size: _median(turns).images for size, turns in by_size.items()}
    cli.log(f"{'':20}TPUv3's images/s  ours and core  cores for as many")
    needed = {}
    for name, published in PUBLISHED.items():
        per_core = of_size[presets.PUBLISHED[name].image.size] / num_cores
        needed[name] = published / per_core
        cli.log(f"{name:20}{published:16.0f}  {per_core:13.0f}  {needed[name]:17.1f}")
    figures = {
        "num_cores": num_cores,
        "images_per_second": {name: round(s.images, 1) for name, s in speeds.items()},
        "cores_at_work": {name: round(s.cores, 2) for name, s in speeds.items()},
        "rounds": {
            name: [round(turn.images, 1) for turn in turns]
            for name, turns in rounds.items()
        },
        "ratio_to_decoder": ratios["ours"],
        "mixture_ratio_to_decoder": ratios["mixture"],
        "images_per_second_by_size": {k: round(v, 1) for k, v in of_size.items()},
        "cores_per_chip": {name: round(cores, 4) for name, cores in needed.items()},
    }
    cli.log(json.dumps(figures))


def _ratio(ours: Sequence[Speed], others: Sequence[Speed]) -> float:
    """Returns the median of the rounds' ratios."""
    pairs = zip(ours, others, strict=True)
    return round(statistics.median(a.images / b.images for a, b in pairs), 3)


if __name__ == "__main__":
    cli.run(main)
