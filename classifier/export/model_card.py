"""The classifier's card: `README.md`, for a reader who does not know the project.

It is a function of the other files of the directory, and holds no times and paths.
Imports neither Keras nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from etils import epath

from classifier.export.facts import (
    CLASSIFIER,
    NO_NETWORK,
    ONNX,
    OWN_CALIBRATION,
    Evaluation,
    own_temperature,
    read_facts,
)
from classifier.models.variants import is_resnet_rs
from stage import artifact, licenses, markdown, typed_json
from stage.typed_json import Count, PositiveCount

#: Most classes that are listed.
_MAX_CLASSES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardNetwork:
    name: str = ""
    width_multiplier: typed_json.Positive = 1.0

    @property
    def width(self) -> float:
        """Factor for the filters, 1 for a network that has none."""
        return self.width_multiplier if is_resnet_rs(self.name) else 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardRecipe:
    model: _CardNetwork | None = None
    num_steps: PositiveCount | None = None
    global_batch_size: PositiveCount | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardSizes:
    labeled: Count
    pseudo_labeled: Count


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardWeights:
    new_head: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardFeatures:
    """What the card says of a probe's features.

    Attributes:
        size: Number of features.
        origin: Description of what gives them.
    """

    size: Count
    origin: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of what gives them; "" for a classifier of this project."""
        return str(self.origin.get("spec") or self.origin.get("source") or "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardRun:
    """What the card says of `config.json`; one that no training wrote has less.

    Attributes:
        config: The recipe.
        sizes: Numbers of images that a student learned from.
        pseudo_labeled: Fingerprint of a student's pseudo-labeled images.
        unlabeled: Description of the unlabeled images.
        initial_weights: Description of the initial weights; None for random ones.
        left_out: The fold not learned from.
        features: Features of a probe.
        class_embeddings: Fingerprint of a zero-shot probe's embeddings of class names.
    """

    config: _CardRecipe = _CardRecipe()
    sizes: _CardSizes | None = None
    pseudo_labeled: str | None = None
    unlabeled: dict[str, Any] | None = None
    initial_weights: _CardWeights | None = None
    left_out: dict[str, Any] | None = None
    features: _CardFeatures | None = None
    class_embeddings: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CardFigures:
    """What the card says of `classifier.json` beside its facts."""

    evaluation: Evaluation | None = None
    num_parameters: Count | None = None


def write(directory: epath.PathLike) -> None:
    """Writes the card of an exported classifier; a head without network has none.

    Raises:
        ValueError: If a file that it describes is missing or broken.
        OSError: If it cannot be written.
    """
    if read_facts(directory).network != NO_NETWORK:
        markdown.write_card(directory, make_card(directory))


def make_card(directory: epath.PathLike) -> str:
    """Returns the card of an exported classifier, as Markdown; see `write`."""
    path = epath.Path(directory)
    facts = read_facts(path)
    return markdown.render(
        "classifier.export",
        "model_card.md",
        facts=facts,
        figures=typed_json.read(path / CLASSIFIER, _CardFigures),
        run=typed_json.read(path / artifact.CONFIG, _CardRun),
        ledger=licenses.read(path),
        has_graph=facts.network != ONNX,
        temperature=own_temperature(path, facts),
        has_calibration=artifact.is_complete(path / OWN_CALIBRATION),
        max_classes=_MAX_CLASSES,
    )
