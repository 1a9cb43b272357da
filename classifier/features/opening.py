"""Opens a source of features by its name.

PATH                 a classifier's directory
onnx:PATH            an ONNX file, from images to vectors
saved_model:PATH     a SavedModel of TensorFlow's, likewise
keras_hub:PRESET     a preset of KerasHub: a name, a handle or a directory
keras:NAME           a network of `keras.applications`, as Keras publishes it
keras_h5:NAME:PATH   such a network's weights in a file
hf:, safetensors:, resnet_rs_h5:  published weights, see `classifier.weights.opening`
"""

from __future__ import annotations

import dataclasses
import functools
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
from classifier.models.factory import build_network
from classifier.weights import published
from classifier.weights.opening import open_weights
from classifier.weights.published import Weights
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
        OSError: If it does not exist, or its file system does not answer.
    """
    if is_classifier(spec):
        return _open_classifier(spec, assignments)
    kind, _, rest = spec.partition(":")
    if kind not in _KINDS or not rest:
        raise ValueError(f"expected features as {FEATURES}, got {spec!r}")
    return _KINDS[kind](rest, assignments, log)


def is_classifier(spec: str) -> bool:
    """Whether a source's name is that of a classifier's directory."""
    _, separator, rest = spec.partition(":")
    return not separator or rest.startswith("//")  # As in gs://.


def _open_classifier(spec: str, assignments: Sequence[str]) -> FeatureSource:
    if artifact.reach(spec).is_file():
        raise ValueError(f"expected features as {FEATURES}, got the file {spec}")
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


def _open_keras(name: str, assignments: Sequence[str], log: Log) -> FeatureSource:
    del log  # Preprocessing is known.
    weights = open_weights("keras:imagenet", name=name)
    return _build(f"keras:{name}", weights, assignments)


def _open_keras_h5(rest: str, assignments: Sequence[str], log: Log) -> FeatureSource:
    del log
    name, _, path = rest.partition(":")
    if not path:
        raise ValueError(f"expected keras_h5:NAME:PATH, got keras_h5:{rest}")
    weights = open_weights(f"keras_h5:{path}", name=name)
    return _build(f"keras_h5:{rest}", weights, assignments)


def _open_published(
    kind: str, rest: str, assignments: Sequence[str], log: Log
) -> FeatureSource:
    del log
    spec = f"{kind}:{rest}"
    return _build(spec, open_weights(spec), assignments)


def _build(spec: str, weights: Weights, assignments: Sequence[str]) -> FeatureSource:
    """Returns the features of published weights; their own head is left out."""
    config = override_all(FeatureConfig(image=weights.image), assignments)
    network = build_network(
        weights.model, image_size=config.image.size, num_classes=_NUM_CLASSES
    )
    published.assign(network, weights, new_head=True)
    return KerasFeatures(
        spec=spec,
        model=weights.model,
        network=network,
        image=config.image,
        origin=dict(weights.origin),
    )


#: Classes of a head that is replaced.
_NUM_CLASSES = 2
_KINDS: dict[str, Callable[[str, Sequence[str], Log], FeatureSource]] = {
    "onnx": onnx_source.open_file,
    "saved_model": saved_model_source.open_directory,
    "keras_hub": keras_hub_source.open_preset,
    "keras": _open_keras,
    "keras_h5": _open_keras_h5,
    **{
        kind: functools.partial(_open_published, kind)
        for kind in ("hf", "safetensors", "resnet_rs_h5")
    },
}
#: The forms of a source.
FEATURES = (
    "a classifier's directory, onnx:PATH, saved_model:PATH, keras_hub:PRESET, "
    "keras:NAME, keras_h5:NAME:PATH, hf:OWNER/NAME, safetensors:PATH or "
    "resnet_rs_h5:PATH"
)
