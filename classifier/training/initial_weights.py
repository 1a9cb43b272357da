"""Initial weights from a trained classifier or from those that others have published.

  PATH   a classifier's directory, of `teacher.train`, `student.train` or, for Keras
         networks, `teacher.probe`
  others as in `classifier.weights.opening`

Either all weights are loaded, or none if a tensor does not fit. For other classes the
head, the last dense layer, can keep its random weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from classifier.data.class_names import check_same_classes
from classifier.export.facts import read_facts
from classifier.export.saved_classifier import read_model_config, rebuild_network
from classifier.models.factory import is_weight, named_variables
from classifier.training.config import TrainConfig
from classifier.weights import opening, published
from classifier.weights.published import HEAD_HINT, Weights
from stage import artifact, licenses
from stage.text import printable

ConfigT = TypeVar("ConfigT", bound=TrainConfig)

#: Settings that a recipe takes from the weights, by their group.
_TAKEN = {
    "model": ("pixel_mean", "pixel_stddev", "channel_order"),
    "image": ("crop_fraction", "interpolation", "antialias"),
}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class InitialWeights:
    """Weights to start a training from.

    Attributes:
        weights: The weights; their preprocessing is that of the recipe if they are a
            trained classifier's.
        class_names: Names by label of a classifier; None for published weights.
        is_pretrained: Whether they are published weights, or those below a probe's
            head: `classifier.training.transfer` has the recipe for them.
    """

    weights: Weights
    class_names: tuple[str, ...] | None
    is_pretrained: bool


def open_for(
    config: ConfigT, spec: str | None, fixed: Collection[str]
) -> tuple[ConfigT, InitialWeights | None]:
    """Returns a recipe with the preprocessing of initial weights, and the weights.

    Args:
        config: The recipe.
        spec: Value of `--init_from`, see the module; None for random weights.
        fixed: Settings that stay the recipe's, such as "image.interpolation".

    Raises:
        ValueError: If the weights are broken, or of another network than the recipe's.
        OSError: If there is no such file, or it cannot be downloaded.
    """
    if spec is None:
        return config, None
    initial = _open(spec, config)
    for group, names in _TAKEN.items():
        theirs = getattr(initial.weights, group)
        taken = {n: getattr(theirs, n) for n in names if f"{group}.{n}" not in fixed}
        changed = dataclasses.replace(getattr(config, group), **taken)
        config = dataclasses.replace(config, **{group: changed})
    return config, initial


def _open(spec: str, config: TrainConfig) -> InitialWeights:
    if opening.is_published(spec):
        weights = opening.open_weights(spec, name=config.model.name)
        published.check_network(weights, config.model.name)
        return InitialWeights(weights=weights, class_names=None, is_pretrained=True)
    if not artifact.reach(spec).is_dir():
        raise ValueError(
            f"--init_from: expected the directory of a classifier, or {opening.FORMS}, "
            f"got {spec!r}"
        )
    path = artifact.require_complete(spec, "init_from")
    facts = read_facts(path)
    is_probe = "probe" in artifact.read_config(path)
    named = named_variables(rebuild_network(path))
    weights = Weights(
        spec=spec,
        model=read_model_config(path),
        image=facts.image if is_probe else config.image,
        arrays={name: np.asarray(v) for name, v in named.items() if is_weight(v)},
        fingerprint=facts.fingerprint,
        origin={},
    )
    return InitialWeights(
        weights=weights, class_names=facts.class_names, is_pretrained=is_probe
    )


def to_json(initial: InitialWeights, *, new_head: bool) -> dict[str, Any]:
    """Returns what `config.json` of the training says of its initial weights."""
    weights = initial.weights
    origin = {"origin": licenses.describe(weights.origin)} if weights.origin else {}
    return {"fingerprint": weights.fingerprint, "new_head": new_head, **origin}


def describe(initial: dict[str, Any], config: TrainConfig) -> str:
    """Returns one line about initial weights, by `to_json`, and their preprocessing."""
    name = initial.get("origin", {}).get("spec", initial["fingerprint"][:12])
    settings = (
        f"{group}.{setting}={_shown(getattr(getattr(config, group), setting))}"
        for group, settings in _TAKEN.items()
        for setting in settings
    )
    return f"initial weights {printable(name)}, with {' '.join(settings)}"


def load(
    model: keras.Model,
    initial: InitialWeights,
    *,
    class_names: Sequence[str],
    new_head: bool,
) -> None:
    """Loads initial weights into a model.

    With `new_head` the head keeps its random weights; otherwise a classifier must have
    the classes `class_names`.

    Raises:
        ValueError: If the classes differ, or a tensor does not fit, which is named.
    """
    if initial.class_names is not None and not new_head:
        try:
            spec = initial.weights.spec
            check_same_classes(initial.class_names, class_names, spec)
        except ValueError as error:
            raise ValueError(f"{error}; {HEAD_HINT}") from error
    published.assign(model, initial.weights, new_head=new_head)


def _shown(value: object) -> str:
    """Returns a value as --set= takes it."""
    if isinstance(value, tuple):
        return ",".join(f"{number:.6g}" for number in value)
    return str(value)
