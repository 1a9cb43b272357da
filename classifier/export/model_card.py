"""The classifier's card: `README.md`, for a reader who does not know the project.

It is a function of the other files of the directory, and holds no times and paths.
Imports neither Keras nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from classifier.export.facts import (
    CLASSIFIER,
    KERAS,
    NO_NETWORK,
    ONNX,
    OWN_CALIBRATION,
    ClassifierFacts,
    Evaluation,
    own_temperature,
    read_facts,
)
from classifier.models.variants import is_resnet_rs
from stage import artifact, hub_metadata, licenses, markdown, typed_json
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

    @property
    def num_evaluated(self) -> int:
        """Number of images that its accuracy was measured on."""
        return self.evaluation.num_examples if self.evaluation else 0


def write(directory: epath.PathLike) -> None:
    """Writes the card of an exported classifier; a head without network has none.

    Raises:
        ValueError: If a file that it describes is missing or broken.
        OSError: If it cannot be written.
    """
    if read_facts(directory).network != NO_NETWORK:
        markdown.write_card(directory, make_card(directory))


def make_card(directory: epath.PathLike, datasets: Sequence[str] = ()) -> str:
    """Returns the card of an exported classifier, as Markdown; see `write`.

    `datasets` are repositories of the hub that it learned from, beside those that its
    ledger names.
    """
    path = epath.Path(directory)
    facts = read_facts(path)
    figures = typed_json.read(path / CLASSIFIER, _CardFigures)
    run = typed_json.read(path / artifact.CONFIG, _CardRun)
    ledger = licenses.read(path)
    temperature = own_temperature(path, facts)
    title = f"Image classifier of {len(facts.class_names):,} classes"
    described = _describe(facts, figures, run, title=title)
    learned_from = {*datasets, *hub_metadata.repositories(ledger, "images")}
    metadata = {
        **hub_metadata.license_fields(ledger),
        **described,
        "datasets": sorted(learned_from),
        "base_model": hub_metadata.repositories(ledger, "weights"),
    }
    return hub_metadata.front_matter(metadata) + markdown.render(
        "classifier.export",
        "model_card.md",
        title=title,
        facts=facts,
        figures=figures,
        evaluated=figures.num_evaluated > 0,
        run=run,
        ledger=ledger,
        has_graph=facts.network != ONNX,
        has_keras=facts.network == KERAS,
        temperature=temperature,
        scaling="" if temperature == 1 else f" / {temperature:g}",
        has_calibration=artifact.is_complete(path / OWN_CALIBRATION),
        max_classes=_MAX_CLASSES,
    )


def _describe(
    facts: ClassifierFacts, figures: _CardFigures, run: _CardRun, *, title: str
) -> dict[str, Any]:
    """Returns what the hub is told of a classifier, beside licenses and origins."""
    format_tag = {KERAS: "keras", ONNX: "onnx"}.get(facts.network, "tensorflow")
    network = run.config.model.name if run.config.model else ""
    method = "noisy-student" if run.pseudo_labeled else ""
    found: dict[str, Any] = {
        "library_name": "noisy-student-rs",
        "pipeline_tag": "image-classification",
        "tags": [tag for tag in (format_tag, method, network) if tag],
    }
    if figures.evaluation and figures.num_evaluated:
        accuracy = {"type": "accuracy", "value": round(figures.evaluation.top1, 6)}
        result = {
            "task": {"type": "image-classification"},
            "dataset": {
                "type": "images",
                "name": f"{figures.num_evaluated:,} images that it did not learn from",
            },
            "metrics": [accuracy],
        }
        found["metrics"] = ["accuracy"]
        found["model-index"] = [{"name": title, "results": [result]}]
    return found
