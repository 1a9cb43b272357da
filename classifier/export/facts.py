"""What an exported classifier says about itself: `classifier.json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from etils import epath

from classifier.data.class_names import check_same_classes
from classifier.export import saved_model
from stage import artifact

EXPORT = "export"
CLASSIFIER = "classifier.json"
MODEL = "model.keras"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well the averaged network does on labeled images.

    Attributes:
        num_examples: Images evaluated.
        num_correct: Of them, those whose highest logit is their label's.
        cross_entropy: Mean over the images, in nats.
    """

    num_examples: int
    num_correct: int
    cross_entropy: float

    @property
    def top1(self) -> float:
        """Share of correct images in [0, 1]."""
        return self.num_correct / self.num_examples


def read_facts(directory: epath.PathLike) -> dict[str, Any]:
    """Returns `classifier.json`: class names, preprocessing, figures, fingerprint."""
    path = epath.Path(directory) / CLASSIFIER
    if not path.exists():
        raise ValueError(f"{directory} is no classifier: no {CLASSIFIER} in it")
    facts: dict[str, Any] = artifact.read_json(path)
    return facts


def read_ensemble_facts(directories: Sequence[epath.PathLike]) -> list[dict[str, Any]]:
    """Returns the facts of some classifiers that can work as one.

    Raises:
        ValueError: If one is not complete, its network has another form, or their
            classes differ.
        FileNotFoundError: If one is not there.
    """
    facts = []
    for directory in directories:
        path = artifact.require_complete(directory, "classifier")
        facts.append(read_facts(path))
        check_same_classes(
            facts[0]["class_names"], facts[-1]["class_names"], str(directory)
        )
        saved_model.check_signatures(path / EXPORT, len(facts[-1]["class_names"]))
    return facts
