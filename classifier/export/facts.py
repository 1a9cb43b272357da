"""`classifier.json`: the metadata of an exported classifier.

Imports neither Keras nor TensorFlow, so that reading it is cheap.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from etils import epath

from stage import artifact

EXPORT = "export"
CLASSIFIER = "classifier.json"
MODEL = "model.keras"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Accuracy of the averaged network on labeled images.

    Attributes:
        num_examples: Number of evaluated images.
        num_correct: Number of images whose highest logit is that of their label.
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
    """Returns `classifier.json`; raises ValueError if it is missing or broken."""
    path = epath.Path(directory) / CLASSIFIER
    if not path.exists():
        raise ValueError(
            f"{directory}: expected an exported classifier, found no {CLASSIFIER}"
        )
    return artifact.read_json(path)
