"""Compares RandAugment with two peers, in images per second on one core.

  python -m benchmarks.training.randaugment

Each way turns decoded images, uint8 [224,224,3], into such images with N = 2
operations of magnitude 10 on each:

* `ours`: `classifier.data.randaugment`, all sixteen operations, inside tf.data.
* `pillow`: the same policy in Pillow and NumPy, arrays in and arrays out.
* `keras`: `keras.layers.RandAugment` inside tf.data, image by image. A policy of its
  own with eleven operations, resampling as cheaply as ours; its images are float32.

The process is bound to one core and TensorFlow to one thread. All ways have a turn in
each round; figures are medians over the rounds. The first batch of a turn is not
counted. The second table is ours with a single operation; it includes drawing and
batching, which is the whole cost of Solarize at magnitude 10. The last line is all
figures as JSON.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from benchmarks.measuring.goals import Verdict, as_json, log_tables
from benchmarks.measuring.photographs import make_photographs
from benchmarks.measuring.turns import Figures, Rounds, repeat, take_turns
from classifier.data.config import PUBLISHED_OPERATIONS as OPERATIONS
from classifier.data.config import AugmentConfig
from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_SECONDS = FLAGS.number("seconds", 0.5, "Seconds per turn.", lower_bound=0.0)

SIZE = 224
#: Distinct images, 5 MB: more than the caches next to a core hold.
NUM_IMAGES = 32
#: Enough to hide the cost of a batch, few enough for short turns.
BATCH = 8
ROUNDS = 7
#: Duration of the second table's turns, which are many, as a share of the first's.
OPERATION_SHARE = 0.1
#: Minimum images per second on one core.
GOAL = 250
SPEED = "images_per_second"
#: The published recipe: N = 2, M = 10.
CONFIG = AugmentConfig()
_LEVEL = CONFIG.magnitude / 10
_GRAY = (128, 128, 128)
_SOLARIZE_ADD_TABLE = [
    min(pixel + int(110 * _LEVEL), 255) if pixel < 128 else pixel
    for pixel in range(256)
]

Batches: TypeAlias = Iterator[Any]


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    if hasattr(os, "sched_setaffinity"):  # Only Linux has it.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cli.load_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images = make_photographs(
        np.random.default_rng(0), NUM_IMAGES, height=SIZE, width=SIZE
    )
    ways = {
        "ours": _ours(images, CONFIG),
        "pillow": _pillow(images),
        "keras": _keras(images),
    }
    operations = {
        name: _ours(images, AugmentConfig(num_ops=1, operations=(name,)))
        for name in OPERATIONS
    }
    _report(
        _take_turns(ways, seconds=_SECONDS.value),
        _take_turns(operations, seconds=_SECONDS.value * OPERATION_SHARE),
    )


def _take_turns(ways: Mapping[str, Batches], *, seconds: float) -> Rounds[str]:
    def measure(way: str) -> Figures:
        step = functools.partial(next, ways[way])
        step()  # One-time initialization, and fills caches.
        count, elapsed = repeat(step, seconds=seconds)
        return {SPEED: BATCH * count / elapsed}

    return take_turns(ways, measure, rounds=ROUNDS)


def _ours(images: np.ndarray, config: AugmentConfig) -> Batches:
    import tensorflow as tf

    from classifier.data import randaugment

    def noisy(position: Any, image: Any) -> Any:
        seed = tf.stack([0, tf.cast(position, tf.int32)])
        return randaugment.augment(image, config, seed=seed)

    return _batches(images, noisy)


def _keras(images: np.ndarray) -> Batches:
    import keras

    layer = keras.layers.RandAugment(
        value_range=(0, 255), num_ops=CONFIG.num_ops, interpolation="nearest", seed=0
    )
    return _batches(images, lambda position, image: layer(image))


def _batches(images: np.ndarray, function: Callable[[Any, Any], Any]) -> Batches:
    """Yields batches of tf.data with one thread, endlessly."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    # By default map and batch work ahead, also during the turns of other ways.
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    dataset = tf.data.Dataset.from_tensor_slices(images).repeat().enumerate()
    return iter(dataset.map(function).batch(BATCH).with_options(options))


def _pillow(images: np.ndarray) -> Batches:
    rng = np.random.default_rng(0)
    for start in itertools.cycle(range(0, len(images), BATCH)):
        batch = images[start : start + BATCH]
        yield np.stack([_noisy_with_pillow(image, rng) for image in batch])


def _noisy_with_pillow(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from PIL import Image

    image = Image.fromarray(array)
    for choice in rng.integers(len(OPERATIONS), size=CONFIG.num_ops):
        sign = rng.choice([-1.0, 1.0])
        image = with_pillow(OPERATIONS[choice], image, sign, tuple(rng.random(2)))
    return np.asarray(image)


def with_pillow(name: str, image: Any, sign: float, position: Sequence[float]) -> Any:
    """Returns a Pillow image after one of OPERATIONS, at CONFIG's magnitude.

    `sign` is the direction of a geometric operation, -1 or 1; `position` is row and
    column of Cutout's center in [0,1).
    """
    from PIL import Image, ImageEnhance, ImageOps

    factor = 1.8 * _LEVEL + 0.1
    signed = sign * _LEVEL
    shift = signed * CONFIG.translate_pixels
    area = image.width * image.height
    pivot = (min(area // 256, 255),) * 3
    operations: dict[str, Callable[[], Any]] = {
        "AutoContrast": lambda: ImageOps.autocontrast(image),
        "Equalize": lambda: ImageOps.equalize(image),
        "Invert": lambda: ImageOps.invert(image),
        "Posterize": lambda: ImageOps.posterize(image, int(4 * _LEVEL)),
        "Solarize": lambda: ImageOps.solarize(image, int(256 * _LEVEL)),
        "SolarizeAdd": lambda: image.point(_SOLARIZE_ADD_TABLE * 3),
        "Color": lambda: ImageEnhance.Color(image).enhance(factor),
        "Contrast": lambda: Image.blend(
            Image.new("RGB", image.size, pivot), image, factor
        ),
        "Brightness": lambda: ImageEnhance.Brightness(image).enhance(factor),
        "Sharpness": lambda: ImageEnhance.Sharpness(image).enhance(factor),
        "Rotate": lambda: image.rotate(30 * signed, fillcolor=_GRAY),
        "ShearX": lambda: _affine(image, (1, 0.3 * signed, 0, 0, 1, 0)),
        "ShearY": lambda: _affine(image, (1, 0, 0, 0.3 * signed, 1, 0)),
        "TranslateX": lambda: _affine(image, (1, 0, shift, 0, 1, 0)),
        "TranslateY": lambda: _affine(image, (1, 0, 0, 0, 1, shift)),
        "Cutout": lambda: _cutout(image, position),
    }
    return operations[name]()


def _affine(image: Any, coefficients: tuple[float, ...]) -> Any:
    from PIL import Image

    # Pillow's coordinates are of pixel corners, the policy's of pixel centers.
    a, b, c, d, e, f = coefficients
    centered = (a, b, c - (a + b - 1) / 2, d, e, f - (d + e - 1) / 2)
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        centered,
        Image.Resampling.NEAREST,
        fillcolor=_GRAY,
    )


def _cutout(image: Any, position: Sequence[float]) -> Any:
    half = int(CONFIG.cutout_pixels * _LEVEL)
    row, column = int(position[0] * image.height), int(position[1] * image.width)
    image = image.copy()
    image.paste(_GRAY, (column - half, row - half, column + half, row + half))
    return image


def _report(rounds: Rounds[str], operations: Rounds[str]) -> None:
    """Prints tables and JSON."""
    speeds = rounds.medians(SPEED)
    ratios = [
        Verdict(f"ratio_to_{peer}", speeds["ours"] / speeds[peer])
        for peer in ("pillow", "keras")
    ]
    goal = Verdict(SPEED, speeds["ours"], at_least=GOAL)
    log_tables(rounds, [goal, *ratios])
    durations = {
        name: round(1e6 / operations.median(name, SPEED), 1) for name in OPERATIONS
    }
    cli.log(f"\n{'operation':14}microseconds per image")
    for name in sorted(OPERATIONS, key=durations.__getitem__, reverse=True):
        cli.log(f"{name:14}{durations[name]:8.0f}")
    figures = {SPEED: speeds, **as_json(ratios)}
    cli.log(json.dumps({**figures, "microseconds_per_operation": durations}))


if __name__ == "__main__":
    cli.run(main, FLAGS)
