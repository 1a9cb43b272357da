"""Images to measure with, which no download is needed for."""

from __future__ import annotations

import numpy as np

#: Mean and standard deviation of the images' intensity.
MEAN = 120
DEVIATION = 50


def make_photographs(
    rng: np.random.Generator, count: int, *, height: int, width: int
) -> np.ndarray:
    """Returns uint8 [count,H,W,3] with the spectrum of photographs, 1/frequency.

    They go on at the other side, so that a shift leaves no edge.
    """
    rows, columns = np.fft.fftfreq(height), np.fft.rfftfreq(width)
    frequency = np.hypot(rows[:, None], columns)
    frequency[0, 0] = np.inf  # Without the mean, which is set below.
    noise = np.fft.rfft2(rng.normal(size=(count, 3, height, width)))
    waves = np.fft.irfft2(noise / frequency, s=(height, width))
    # Channels mostly agree, as they do in photographs.
    waves += 2 * waves.mean(axis=1, keepdims=True)
    waves *= DEVIATION / waves.std(axis=(1, 2, 3), keepdims=True)
    pixels = np.clip(waves + MEAN, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
