"""Opens a source of features by its name.

PATH              a classifier's directory
onnx:PATH         an ONNX file, from images to vectors
saved_model:PATH  a SavedModel of TensorFlow's, likewise
keras_hub:PRESET  a preset of KerasHub: a name, a handle or a directory
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from classifier.data.config import ImageConfig
from classifier.export.facts import ONNX, SAVED_MODEL, read_facts
from classifier.export.saved_classifier import (
    read_model_config,
    rebuild_network,
)
from classifier.export.saved_model import read_ensemble_facts
from classifier.features import (
    keras_hub_source,
    onnx_source,
    saved_model_source,
    traced,
)
from classifier.features.keras_network import KerasFeatures
from classifier.features.source import FeatureSource
from stage import artifact
from stage.cli import Log
from stage.overrides import override_all


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Settings of a network that the source itself determines.

    Attributes:
        image: Evaluation preprocessing.
    """

    image: ImageConfig


def _ignore(line: str) -> None:
    """Is for a caller who does not want to know what was assumed."""


def open_features(
    spec: str, assignments: Sequence[str] = (), log: Log = _ignore
) -> FeatureSource:
    """Returns a source of features.

    Args:
        spec: Name of the source, see the module.
        assignments: Settings that replace the source's own, as "image.size=224".
        log: Receives a line about what had to be assumed.

    Raises:
        ValueError: If the source is broken or unknown, or a setting does not fit.
        FileNotFoundError: If it does not exist.
    """
    kind, separator, rest = spec.partition(":")
    if not separator or rest.startswith("//"):  # As in gs://.
        return _open_classifier(spec, assignments)
    if kind not in _KINDS or not rest:
        raise ValueError(f"expected features as {FEATURES}, got {spec!r}")
    return _KINDS[kind](rest, assignments, log)


def _open_classifier(spec: str, assignments: Sequence[str]) -> FeatureSource:
    path = artifact.require_complete(spec, "features")
    facts = read_facts(path)
    facts.require_network(spec)
    config = override_all(FeatureConfig(image=facts.image), assignments)
    if facts.network == ONNX:
        return onnx_source.open_classifier(spec, facts, config.image)
    if facts.network == SAVED_MODEL:
        read_ensemble_facts([path])
        return traced.open_classifier(spec, facts, config.image)
    return KerasFeatures(
        spec=spec,
        model=read_model_config(path),
        network=rebuild_network(path, image_size=config.image.size),
        image=config.image,
        origin={"classifier": facts.fingerprint},
    )


_KINDS: dict[str, Callable[[str, Sequence[str], Log], FeatureSource]] = {
    "onnx": onnx_source.open_file,
    "saved_model": saved_model_source.open_directory,
    "keras_hub": keras_hub_source.open_preset,
}
#: The forms of a source.
FEATURES = "a classifier's directory, onnx:PATH, saved_model:PATH or keras_hub:PRESET"
