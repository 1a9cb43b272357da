"""Chooses the fastest engine by timing the candidates on real images."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.data.examples import Example
from classifier.inference.engine import REFERENCE, Engine, Network
from classifier.inference.ensemble import Classifier, decode_rows
from stage.status import OK
from stage.system import num_cores

#: Minimum share of images on which a candidate has the reference's top class.
MIN_AGREEMENT = 0.995
#: Minimum speed relative to the reference: a smaller gain may be noise.
MIN_GAIN = 1.05
#: Number of images to time on, and per call: few, so that large networks end soon, too.
NUM_IMAGES = 256
BATCH_SIZE = 8
#: Seconds per candidate, and rounds that they are divided into.
SECONDS = 3.0
NUM_ROUNDS = 2


@dataclasses.dataclass(frozen=True)
class EngineTiming:
    """Measured speed and agreement of a candidate.

    Attributes:
        engine: The candidate.
        images_per_second: Speed of the network alone, without decoding.
        agreement: Share of the images with the reference's top class, in [0, 1].
    """

    engine: Engine
    images_per_second: float
    agreement: float


def time_engines(
    classifier: Classifier,
    candidates: Sequence[Engine],
    examples: Sequence[Example],
    *,
    seconds: float = SECONDS,
) -> list[EngineTiming]:
    """Returns the timing of each candidate on all cores, for `seconds` each.

    The images should be real; those that cannot be decoded are left out. If those that
    remain do not fill a batch, as networks are compiled for, nothing is timed, and all
    figures are 0.
    """
    batches = list(_batches(classifier, examples))
    if not batches:
        return [EngineTiming(engine, 0.0, 0.0) for engine in candidates]
    first = classifier.reference
    engines = [first, *(engine for engine in candidates if engine != first)]
    networks = {
        engine: classifier.loader.load(
            engine, batch_size=BATCH_SIZE, threads=num_cores()
        )
        for engine in engines
    }
    # The best of several rounds counts: another process may slow one of them down.
    speeds = dict.fromkeys(engines, 0.0)
    same: dict[Engine, list[bool]] = {engine: [] for engine in engines}
    for start in range(NUM_ROUNDS):
        expected: list[int] = []
        for engine, network in networks.items():
            timed = batches[start::NUM_ROUNDS]
            labels, speed = _time(network, timed, seconds / NUM_ROUNDS)
            expected = expected or labels
            # A slower engine got to fewer images.
            same[engine] += [a == b for a, b in zip(labels, expected, strict=False)]
            speeds[engine] = max(speeds[engine], speed)
    agreement = {engine: sum(hits) / max(1, len(hits)) for engine, hits in same.items()}
    return [
        EngineTiming(engine, speeds[engine], agreement[engine]) for engine in candidates
    ]


def choose(timings: Sequence[EngineTiming]) -> Engine:
    """Returns the fastest engine that agrees with the reference and is clearly faster.

    If there is none, returns the first, which is the reference if it is a candidate.
    """
    first = timings[0]
    faster = [
        timing
        for timing in timings[1:]
        if timing.agreement >= MIN_AGREEMENT
        and timing.images_per_second >= MIN_GAIN * first.images_per_second
    ]
    best = max(faster, key=lambda timing: timing.images_per_second, default=first)
    return best.engine


def describe(
    timings: Sequence[EngineTiming], chosen: Engine, reference: Engine = REFERENCE
) -> list[str]:
    """Returns the timings as the lines of a table, or a line if there are none."""
    if not any(timing.images_per_second for timing in timings):
        return [
            f"engine {chosen}: to compare engines takes at least {BATCH_SIZE} images "
            "that can be decoded, and the first shard has fewer"
        ]
    lines = [f"{'engine':<22} {'images/s':>8}  top-1 as {reference}"]
    for timing in timings:
        mark = "  <- chosen" if timing.engine == chosen else ""
        lines.append(
            f"{timing.engine!s:<22} {timing.images_per_second:>8.1f}  "
            f"{timing.agreement:.2%}{mark}"
        )
    return lines


def _batches(
    classifier: Classifier, examples: Sequence[Example]
) -> Iterator[NDArray[np.uint8]]:
    """Yields pixels of full batches of the images that can be decoded."""
    size = classifier.image.size
    left = np.zeros((0, size, size, 3), np.uint8)
    for start in range(0, len(examples), BATCH_SIZE):
        batch = examples[start : start + BATCH_SIZE]
        decoded = decode_rows(batch, classifier.preprocess, size=size)
        good = np.array([status == OK for status in decoded.status])
        left = np.concatenate([left, decoded.pixels[good]])
        if len(left) >= BATCH_SIZE:
            yield left[:BATCH_SIZE]
            left = left[BATCH_SIZE:]


def _time(
    network: Network, batches: Sequence[NDArray[np.uint8]], seconds: float
) -> tuple[list[int], float]:
    """Returns the top classes of the images reached in time, and images a second."""
    if not batches:
        return [], 0.0
    network(batches[0])  # The first call compiles.
    labels: list[int] = []
    started = time.perf_counter()
    for batch in batches:
        labels.extend(network(batch).argmax(axis=1).tolist())
        if time.perf_counter() - started > seconds:
            break
    return labels, len(labels) / (time.perf_counter() - started)
