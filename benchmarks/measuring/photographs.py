"""Synthetic photographs, so that no benchmark needs a download."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

#: Mean and standard deviation of the pixels.
MEAN, DEVIATION = 120, 50
#: The most frequent size in ImageNet, and the quality that gives its mean of 110 kB.
HEIGHT, WIDTH = 375, 500
QUALITY = 88
#: All JPEGs are shifted copies of this many photographs, which are slow to make.
NUM_PHOTOGRAPHS = 16


def make_photographs(
    rng: np.random.Generator, count: int, *, height: int, width: int
) -> np.ndarray:
    """Returns uint8 [count,H,W,3] with the 1/frequency spectrum of photographs.

    They are periodic, so that a shifted copy has no visible seam.
    """
    rows, columns = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    frequency = np.hypot(rows[:, None], columns)
    frequency[0, 0] = np.inf  # Removes the mean, which is set below.
    noise = np.fft.rfft2(rng.normal(size=(count, 3, height, width)))
    waves = np.fft.irfft2(noise / frequency, s=(height, width))
    # Channels are correlated, as in photographs.
    waves += 2 * waves.mean(axis=1, keepdims=True)
    waves *= DEVIATION / waves.std(axis=(1, 2, 3), keepdims=True)
    pixels = np.clip(waves + MEAN, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def make_jpegs(
    rng: np.random.Generator,
    count: int,
    *,
    height: int = HEIGHT,
    width: int = WIDTH,
    quality: int = QUALITY,
) -> Iterator[bytes]:
    """Yields JPEGs, nearly always distinct ones."""
    import tensorflow as tf

    photographs = make_photographs(rng, NUM_PHOTOGRAPHS, height=height, width=width)
    for index in range(count):
        shift = tuple(rng.integers((height, width)))
        pixels = np.roll(photographs[index % NUM_PHOTOGRAPHS], shift, axis=(0, 1))
        yield tf.io.encode_jpeg(pixels, quality=quality).numpy()


def make_example(jpeg: bytes, label: int | None = None) -> bytes:
    """Returns a serialized `tf.train.Example`."""
    import tensorflow as tf

    from classifier.data.readers import IMAGE_FEATURE, LABEL_FEATURE

    example = tf.train.Example()
    feature = example.features.feature
    feature[IMAGE_FEATURE].bytes_list.value.append(jpeg)
    if label is not None:
        feature[LABEL_FEATURE].int64_list.value.append(label)
    return example.SerializeToString(deterministic=True)


def write_tfrecord(path: pathlib.Path, records: Iterable[bytes]) -> None:
    """Writes serialized records."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
