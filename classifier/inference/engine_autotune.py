"""Chooses the engine: tries the candidates on real images, takes the fastest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.inference.engine import REFERENCE, Engine, Network
from classifier.inference.ensemble import OK, Classifier, decode_rows
from stage.system import num_cores

#: Share of the images whose top class a candidate must agree on with the reference.
MIN_AGREEMENT = 0.995
#: How much faster than the reference a candidate has to be: less may be chance.
MIN_GAIN = 1.05
#: Images of a trial, and of each call: few, so that large networks end soon, too.
NUM_IMAGES = 256
TRIAL_BATCH = 8
#: Seconds of a candidate, and turns that they are spread over.
SECONDS = 3.0
TURNS = 2


@dataclasses.dataclass(frozen=True)
class EngineTiming:
    """What a candidate did.

    Attributes:
        engine: The candidate.
        images_per_second: Of the network alone, decoding apart.
        agreement: Share of the images with the reference's top class.
    """

    engine: Engine
    images_per_second: float
    agreement: float


def try_engines(
    classifier: Classifier,
    candidates: Sequence[Engine],
    encoded: Sequence[bytes],
    *,
    seconds: float = SECONDS,
) -> list[EngineTiming]:
    """Returns figures of each candidate, with all cores.

    Args:
        classifier: To be run.
        candidates: What to try.
        encoded: Real images; those that cannot be decoded are left out.
        seconds: Of each candidate.
    """
    engines = [REFERENCE, *(one for one in candidates if one != REFERENCE)]
    networks = {
        engine: classifier.loader.load(
            engine, batch_size=TRIAL_BATCH, threads=num_cores()
        )
        for engine in engines
    }
    batches = list(_batches(classifier, encoded))
    # In turns, the better of which counts: something else may run for a while.
    speeds = dict.fromkeys(engines, 0.0)
    same: dict[Engine, list[bool]] = {engine: [] for engine in engines}
    for turn in range(TURNS):
        expected: list[int] = []
        for engine, network in networks.items():
            found, speed = _run(network, batches[turn::TURNS], seconds / TURNS)
            expected = expected or found
            # A slower one has seen fewer.
            same[engine] += [a == b for a, b in zip(found, expected, strict=False)]
            speeds[engine] = max(speeds[engine], speed)
    return [
        EngineTiming(one, speeds[one], sum(same[one]) / max(1, len(same[one])))
        for one in candidates
    ]


def choose(figures: Sequence[EngineTiming]) -> Engine:
    """Returns the fastest that agrees with the reference and is clearly faster.

    Where none agrees, or the reference was not among them and only one was tried,
    the first.
    """
    first = figures[0]
    faster = [
        one
        for one in figures[1:]
        if one.agreement >= MIN_AGREEMENT
        and one.images_per_second >= MIN_GAIN * first.images_per_second
    ]
    best = max(faster, key=lambda one: one.images_per_second, default=first)
    return best.engine


def describe(figures: Sequence[EngineTiming], chosen: Engine) -> list[str]:
    """Returns a table for people."""
    lines = [f"{'engine':<22} {'images/s':>8}  top-1 as {REFERENCE}"]
    for one in figures:
        mark = "  <- chosen" if one.engine == chosen else ""
        lines.append(
            f"{one.engine!s:<22} {one.images_per_second:>8.1f}  "
            f"{one.agreement:.2%}{mark}"
        )
    return lines


def _batches(
    classifier: Classifier, encoded: Sequence[bytes]
) -> Iterator[NDArray[np.uint8]]:
    size = classifier.image["size"]
    for start in range(0, len(encoded) - TRIAL_BATCH + 1, TRIAL_BATCH):
        images = encoded[start : start + TRIAL_BATCH]
        decoded = decode_rows(images, classifier.preprocess, size=size)
        if decoded.status.count(OK) == TRIAL_BATCH:
            yield decoded.pixels


def _run(
    network: Network, batches: Sequence[NDArray[np.uint8]], seconds: float
) -> tuple[list[int], float]:
    """Returns the top classes of the images it got to, and images a second."""
    if not batches:
        return [], 0.0
    network(batches[0])  # Compiles.
    labels: list[int] = []
    started = time.perf_counter()
    for batch in batches:
        labels.extend(network(batch).argmax(axis=1).tolist())
        if time.perf_counter() - started > seconds:
            break
    return labels, len(labels) / (time.perf_counter() - started)
