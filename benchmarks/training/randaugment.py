"""Measures RandAugment: images a second on one core, beside two other ways to do it.

  python -m benchmarks.training.randaugment

Each way turns decoded images, uint8 [224,224,3], into such images with N = 2
operations of magnitude 10 on each:

* `ours`: `classifier.data.randaugment`, all sixteen operations, inside tf.data.
* `pillow`: the same policy in Pillow and NumPy, arrays in and arrays out.
* `keras`: `keras.layers.RandAugment` inside tf.data, image by image. A policy of its
  own with eleven operations, resampling as cheaply as ours; its images are float32.

The process is bound to one core and TensorFlow to one thread. The three take turns for
several rounds; a figure is the median over rounds. The first batch of a turn is not
counted. The second table is ours with a single operation; it includes drawing and
batching, which is all there is to Solarize at magnitude 10. The last line is all
figures as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks.measuring.photographs import make_photographs
from benchmarks.measuring.turns import take_turns
from classifier.data.config import OPERATIONS, AugmentConfig
from stage import cli

_SECONDS = flags.DEFINE_float(
    "seconds", 0.5, "Duration of one measurement.", lower_bound=0.0
)

SIZE = 224
#: Different images, 5 MB: more than the caches next to a core hold.
NUM_IMAGES = 32
#: Enough to hide what a batch costs, few enough for turns to be short.
BATCH = 8
ROUNDS = 7
#: The second table has many rows; its measurements are this much shorter.
OPERATION_SHARE = 0.1
#: Images a second that one core is to make at the least.
GOAL = 250
#: The published recipe: N = 2, M = 10.
CONFIG = AugmentConfig()
_LEVEL = CONFIG.magnitude / 10
_GRAY = (128, 128, 128)

Batches = Iterator[Any]


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    _bind_to_one_core()
    cli.load_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images = make_photographs(
        np.random.default_rng(0), NUM_IMAGES, height=SIZE, width=SIZE
    )
    speeds = _images_per_second(
        {
            "ours": _ours(images, CONFIG),
            "pillow": _pillow(images),
            "keras": _keras(images),
        },
        seconds=_SECONDS.value,
    )
    operations = _images_per_second(
        {name: _ours(images, _only(name)) for name in OPERATIONS},
        seconds=_SECONDS.value * OPERATION_SHARE,
    )
    _tell(speeds, {name: 1e6 / speed for name, speed in operations.items()})


def _bind_to_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):  # Only Linux has it.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _only(name: str) -> AugmentConfig:
    return AugmentConfig(num_ops=1, operations=(name,))


def _images_per_second(
    ways: Mapping[str, Batches], *, seconds: float
) -> dict[str, float]:
    """Returns the median over rounds, in each of which every way has its turn."""
    rounds = take_turns(ways, lambda batches: _speed(batches, seconds), rounds=ROUNDS)
    return {name: statistics.median(speeds) for name, speeds in rounds.items()}


def _speed(batches: Batches, seconds: float) -> float:
    next(batches)  # Makes what is made once, and fills caches.
    started = time.perf_counter()
    count = 0
    elapsed = 0.0
    while elapsed < seconds or count == 0:
        next(batches)
        count += BATCH
        elapsed = time.perf_counter() - started
    return count / elapsed


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
    """Yields batches out of tf.data with one thread, endlessly."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    # By default map and batch work ahead, so while another way has its turn.
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
    """Returns the Pillow image after the operation, at CONFIG's magnitude.

    Args:
        name: One of OPERATIONS.
        image: RGB.
        sign: -1 or 1, the direction of a geometric operation.
        position: Row and column of Cutout's center in [0,1).
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


_SOLARIZE_ADD_TABLE = [
    min(pixel + int(110 * _LEVEL), 255) if pixel < 128 else pixel
    for pixel in range(256)
]


def _affine(image: Any, coefficients: tuple[float, ...]) -> Any:
    from PIL import Image

    # Pillow counts from the corners of pixels, the policy from their centers.
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


def _tell(speeds: Mapping[str, float], microseconds: Mapping[str, float]) -> None:
    ours = speeds["ours"]
    cli.log(f"{'':14}images/s  ours is faster")
    for name, speed in speeds.items():
        cli.log(f"{name:14}{speed:8.0f}  {ours / speed:13.2f}x")
    cli.log(f"\n{'operation':14}microseconds an image")
    for name, duration in sorted(microseconds.items(), key=lambda item: -item[1]):
        cli.log(f"{name:14}{duration:8.0f}")
    verdict = "met" if ours >= GOAL else "missed"
    cli.log(f"\ngoal of {GOAL} images a second and core: {verdict}")
    figures = {
        "images_per_second": {name: round(speed, 1) for name, speed in speeds.items()},
        "ratio_to_pillow": round(ours / speeds["pillow"], 3),
        "ratio_to_keras": round(ours / speeds["keras"], 3),
        "microseconds_per_operation": {
            name: round(duration, 1) for name, duration in microseconds.items()
        },
    }
    cli.log(json.dumps(figures))


if __name__ == "__main__":
    cli.run(main)
