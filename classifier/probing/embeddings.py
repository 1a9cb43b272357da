"""Embeddings of labeled images, each read and decoded once."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.data import python_reader
from classifier.data.examples import Example, key_text
from classifier.data.inspection import MAX_LISTED
from classifier.data.sources import Source
from classifier.export.facts import Evaluation
from classifier.export.head import Head
from classifier.features.source import Extractor
from classifier.inference.ensemble import BATCH_SIZE, Decoded, decode_rows
from classifier.inference.temperature_scaling import (
    LabeledLogits,
    negative_log_likelihood,
)
from stage.status import OK

_NOT_FINITE = "its embedding is not finite"


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledEmbeddings:
    """Embeddings of N labeled images.

    Attributes:
        keys: N keys.
        digests: N SHA-256 of the encoded images, hexadecimal.
        labels: int64 [N] in 0..K-1.
        embeddings: float32 [N,D], finite.
    """

    keys: Sequence[str]
    digests: Sequence[str]
    labels: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    def take(self, rows: NDArray[np.int64]) -> LabeledEmbeddings:
        """Returns some of the images, given by their rows."""
        return LabeledEmbeddings(
            [self.keys[row] for row in rows],
            [self.digests[row] for row in rows],
            self.labels[rows],
            self.embeddings[rows],
        )


def embed(
    source: Source, extractor: Extractor, rows: NDArray[np.bool_] | None = None
) -> LabeledEmbeddings:
    """Returns the embeddings of a source that `inspection.inspect` has read.

    `rows` [N] says which images count; None for all.

    Raises ValueError if an image cannot be decoded, or its embedding is not finite.
    """
    keys: list[str] = []
    digests: list[str] = []
    labels: list[int] = []
    found: list[NDArray[np.float32]] = []
    is_taken = itertools.repeat(True) if rows is None else iter(rows)
    batches = python_reader.read_batches(source.reader, source.files, BATCH_SIZE)
    for read in batches:
        batch = list(itertools.compress(read, is_taken))
        if not batch:
            continue
        decoded = decode_rows(batch, extractor.preprocess, size=extractor.image.size)
        _check(source.spec, batch, _errors(decoded))
        found.append(extractor(decoded.pixels))
        is_finite = np.isfinite(found[-1]).all(axis=1)
        _check(source.spec, batch, list(np.where(is_finite, "", _NOT_FINITE)))
        keys += [key_text(example.key) for example in batch]
        digests += [hashlib.sha256(example.image).hexdigest() for example in batch]
        labels += [example.label for example in batch]
    return LabeledEmbeddings(
        keys, digests, np.array(labels, np.int64), np.concatenate(found)
    )


def evaluate(head: Head, images: LabeledEmbeddings) -> Evaluation:
    """Returns the figures of a head on labeled images."""
    logits = head.logits(images.embeddings)
    part = LabeledLogits(logits[np.newaxis], images.labels.astype(np.int32))
    return Evaluation(
        num_examples=len(logits),
        num_correct=int((logits.argmax(axis=1) == images.labels).sum()),
        cross_entropy=negative_log_likelihood([part], 1.0),
    )


def describe(evaluation: Evaluation) -> str:
    """Returns the figures of `evaluate` as one line."""
    return (
        f"{evaluation.num_correct:,} of {evaluation.num_examples:,} images to evaluate "
        f"on right, {evaluation.top1:.2%}"
    )


def check_classes(
    labels: NDArray[np.int64], class_names: Sequence[str], what: str
) -> None:
    """Raises ValueError unless two or more classes have images, and no other has."""
    if len(class_names) < 2:
        raise ValueError(
            f"{what}: expected images of two or more classes, got only "
            f"{', '.join(map(repr, class_names))}"
        )
    outside = labels[(labels < 0) | (labels >= len(class_names))]
    if len(outside):
        raise ValueError(
            f"{what}: expected labels from 0 to {len(class_names) - 1}, got "
            f"{outside[0]} ({len(outside):,} of {len(labels):,} images)"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    missing = np.flatnonzero(counts == 0)
    if len(missing):
        raise ValueError(
            f"{what}: expected an image of each class, got none of "
            f"{class_names[missing[0]]!r} ({len(missing)} of {len(counts)} classes)"
        )


def _errors(decoded: Decoded) -> list[str]:
    return [
        "" if status == OK else error or status
        for status, error in zip(decoded.status, decoded.error, strict=True)
    ]


def _check(spec: str, batch: Sequence[Example], reasons: Sequence[str]) -> None:
    """Raises ValueError if there is a reason why an image cannot be used."""
    bad = [
        f"{key_text(example.key)}: {reason}"
        for example, reason in zip(batch, reasons, strict=True)
        if reason
    ]
    if bad:
        raise ValueError(f"{spec}: {'; '.join(bad[:MAX_LISTED])}")
