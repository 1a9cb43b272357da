"""A new head that is fitted before the network below it is trained.

"LP-FT" of Kumar et al. 2022: the gradients of a random head would change features that
are good already.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from classifier.features.source import BATCH_SIZE, Extractor
from classifier.inference.engine import with_fixed_batch
from classifier.models.embedding import EMBEDDING, set_head, with_embedding
from classifier.probing import cross_validation, embeddings
from classifier.probing.config import ProbeConfig
from classifier.probing.logistic_regression import fit_head
from classifier.training.trainer import TrainingRun


def fit_new_head(run: TrainingRun) -> None:
    """Gives a network with a new head that of a probe of its features.

    It does nothing unless the recipe has `fitted_head` and the head is a new one.

    Raises:
        ValueError: If the network has no pooled features, a class has no image, or an
            image cannot be decoded.
    """
    if not (run.config.fitted_head and (run.initial_weights or {}).get("new_head")):
        return
    outputs = with_embedding(run.model)
    if EMBEDDING not in outputs.output:
        raise ValueError(
            f"fitted_head needs pooled features, which {run.model.name} has none of; "
            "--set=fitted_head=False starts with a random head"
        )

    def embed(pixels: Any) -> list[Any]:
        return [np.asarray(outputs.predict_on_batch(pixels)[EMBEDDING])]

    network = with_fixed_batch(embed, BATCH_SIZE)
    extractor = Extractor(run.config.image, lambda pixels: network(pixels)[0])
    labeled = embeddings.embed(run.labeled, extractor)
    try:
        embeddings.check_classes(labeled.labels, run.class_names, run.labeled.spec)
    except ValueError as error:
        hint = "--set=fitted_head=False starts with a random head"
        raise ValueError(f"{error}; {hint}") from error
    config = ProbeConfig(seed=run.config.seed)
    chosen = cross_validation.choose_c(labeled, config)
    head = fit_head(labeled.embeddings, labeled.labels, c=chosen.value)
    set_head(run.model, head.kernel, head.bias)
