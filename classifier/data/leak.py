"""Whether a classifier is evaluated on images that it was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from stage import artifact

if TYPE_CHECKING:  # It imports TensorFlow, which a report does without.
    from classifier.data.sources import Source

#: Bytes of an image's SHA-256 that are kept, as many as of an unsigned integer. Two of
#: a billion different images have the same ones with a probability of 3 %.
DIGEST_BYTES = 8


def count_shared(labeled: Source, evaluation: Source) -> int:
    """Returns how many evaluation images have the bytes of a labeled one.

    Both have been inspected.
    """
    of_labeled, of_evaluation = (
        np.frombuffer(b"".join(source.digests), np.uint64)
        for source in (labeled, evaluation)
    )
    return int(np.isin(of_evaluation, of_labeled).sum())


def described_source(config: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """Returns what a `config.json` says about a source, with all folds; or None."""
    left_out = config.get("left_out")
    if key == "labeled" and isinstance(left_out, dict):
        config = left_out
    found = config.get(key)
    return found if isinstance(found, dict) else None


def is_trained_on(config: Mapping[str, Any], content: str | None) -> bool:
    """Whether a classifier's `config.json` names these as its labeled images.

    `content` is their fingerprint; None if it is not known.
    """
    labeled = described_source(config, "labeled") or {}
    return content is not None and labeled.get(artifact.CONTENT) == content


def describe(directories: Iterable[epath.PathLike], evaluation: Source) -> list[str]:
    """Returns a warning if classifiers were trained on the images to evaluate on."""
    trained = [
        str(directory)
        for directory in directories
        if (epath.Path(directory) / artifact.CONFIG).exists()
        and is_trained_on(artifact.read_config(directory), evaluation.content)
    ]
    if not trained:
        return []
    return [
        f"warning: {trained[0]} was trained on the images of {evaluation.spec}: its "
        "accuracy on them says little about other images"
    ]
