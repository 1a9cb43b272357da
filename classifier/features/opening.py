"""Opens a source of features by its name.

PATH                a classifier's directory
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from classifier.data.config import ImageConfig
from classifier.export.facts import read_facts
from classifier.export.saved_classifier import (
    read_model_config,
    rebuild_network,
)
from classifier.features.keras_network import KerasFeatures
from classifier.features.source import FeatureSource
from stage import artifact
from stage.overrides import override_all


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """Settings of a network that the source itself determines.

    Attributes:
        image: Evaluation preprocessing.
    """

    image: ImageConfig


def open_features(spec: str, assignments: Sequence[str] = ()) -> FeatureSource:
    """Returns a source of features.

    Args:
        spec: Name of the source, see the module.
        assignments: Settings that replace the source's own, as "image.size=224".

    Raises:
        ValueError: If the source is broken or unknown, or a setting does not fit.
        FileNotFoundError: If it does not exist.
    """
    return _open_classifier(spec, assignments)


def _open_classifier(spec: str, assignments: Sequence[str]) -> FeatureSource:
    path = artifact.require_complete(spec, "features")
    facts = read_facts(path)
    config = override_all(FeatureConfig(image=facts.image), assignments)
    return KerasFeatures(
        spec=spec,
        model=read_model_config(path),
        network=rebuild_network(path, image_size=config.image.size),
        image=config.image,
        origin={"classifier": facts.fingerprint},
    )
