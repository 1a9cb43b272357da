"""A run of `teacher.probe` on the embeddings in predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from etils import epath

from classifier.data import inspection
from classifier.data.class_names import check_same_classes
from classifier.data.sources import Source, open_source
from classifier.export.facts import CLASSIFIER, NO_NETWORK, Evaluation
from classifier.export.head import Head, write_head
from classifier.features.source import FeatureSource, describe
from classifier.probing import embeddings, probe
from classifier.probing import run as probing
from classifier.probing.config import ProbeConfig
from classifier.probing.embeddings import LabeledEmbeddings
from pseudo_label.predictions.prediction_set import PredictionSet, open_predictions
from stage import artifact, licenses
from stage.cli import Log
from stage.licenses import Ledger
from teacher.probing import stored_embeddings


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class StoredRun:
    """A probe to make of stored embeddings, with checked inputs.

    Attributes:
        config: How the head is fitted.
        predictions: The embeddings.
        backbone: Network that the embeddings are of, to export with the head; None to
            write the head alone.
        labeled: Images to learn from; None for those whose label is stored.
        evaluation: Images to evaluate on, if any.
        class_names: K names by label.
        learned: Embeddings of the images to learn from.
        evaluated: Embeddings of those to evaluate on; None if the network gives them.
        ledger: What it is made of.
    """

    config: ProbeConfig
    predictions: PredictionSet
    backbone: FeatureSource | None
    labeled: Source | None
    evaluation: Source | None
    class_names: tuple[str, ...]
    learned: LabeledEmbeddings
    evaluated: LabeledEmbeddings | None = None
    ledger: Ledger = ()

    def describe(self) -> dict[str, Any]:
        """Returns the content of the classifier's `config.json`."""
        features = {
            "fingerprint": self.predictions.features,
            "size": self.predictions.embedding_size,
        }
        stored = artifact.read_config(self.predictions.directory)["images"]
        return {
            **(describe(self.backbone) if self.backbone else {"features": features}),
            "probe": dataclasses.asdict(self.config),
            "predictions": self.predictions.fingerprint,
            "labeled": self.labeled.describe() if self.labeled else stored,
            "evaluation": self.evaluation.describe() if self.evaluation else None,
            "class_names": self.class_names,
        }

    def make(self, workdir: epath.PathLike, log: Log) -> Evaluation | None:
        """Writes the classifier, or its head, and its calibration into the directory.

        Returns its evaluation, if there are images to evaluate on.

        Raises:
            ValueError: If an image to evaluate on cannot be decoded.
            OSError: If a file cannot be written.
        """
        found = probe.fit(self.learned, self.config)
        for line in found.lines:
            log(line)
        evaluated, evaluation = self.evaluated, None
        if self.evaluation is not None and self.backbone is not None:
            evaluated = embeddings.embed(self.evaluation, self.backbone.load())
        if evaluated is not None:
            evaluation = embeddings.evaluate(found.head, evaluated)
        if self.backbone is None:
            self._write_head(found.head, workdir, evaluation)
        elif evaluation is not None:
            self.backbone.export(
                found.head,
                workdir,
                class_names=self.class_names,
                evaluation=evaluation,
                num_embedded=len(self.learned.labels),
            )
        probing.calibrate(found, self.describe()["labeled"], workdir, log)
        if evaluation is not None:
            log(embeddings.describe(evaluation))
        return evaluation

    def _write_head(
        self, head: Head, workdir: epath.PathLike, evaluation: Evaluation | None
    ) -> None:
        """Writes what relabeling needs."""
        of_head = write_head(workdir, head)
        parts = (self.predictions.features, repr(self.class_names), of_head)
        facts = {
            "fingerprint": artifact.fingerprint(part.encode() for part in parts),
            "class_names": self.class_names,
            "network": NO_NETWORK,
            "features": self.predictions.features,
            "head": of_head,
            "evaluation": evaluation and evaluation.to_json(),
        }
        artifact.write_json(epath.Path(workdir) / CLASSIFIER, facts)


def open_run(
    config: ProbeConfig,
    *,
    predictions: str,
    backbone: FeatureSource | None,
    labeled: str | None,
    evaluation: str | None,
    stated: Mapping[str, str] = MappingProxyType({}),
    **how: Any,
) -> StoredRun:
    """Opens predictions and images, and finds the embeddings of the images.

    `how` are arguments of `open_source`, `stated` has the licenses of `licenses.parse`.

    Raises:
        ValueError: If one of them cannot be used, the network is another, an image has
            no embedding, or a class no image.
        FileNotFoundError: If one does not exist.
    """
    if backbone is not None and evaluation is None:
        raise ValueError("--backbone= needs --evaluation=, to evaluate the classifier")
    stored = _open_predictions(predictions, backbone, labeled)
    to_learn, to_evaluate = (
        inspection.inspect(open_source(spec, **how), for_training=True)
        if spec is not None
        else None
        for spec in (labeled, evaluation)
    )
    class_names = to_learn.labeled_class_names() if to_learn else stored.class_names
    for source in [to_learn, to_evaluate]:
        if source is None:
            continue
        check_same_classes(class_names, source.labeled_class_names(), source.spec)
    if to_learn:
        learned = stored_embeddings.match(stored, to_learn)
    else:
        learned = stored_embeddings.read_true_labels(stored)
    embeddings.check_classes(learned.labels, class_names, labeled or predictions)
    evaluated = None
    if to_evaluate and backbone is None:
        evaluated = stored_embeddings.match(stored, to_evaluate)
    ledger = [*licenses.trace(predictions, {}, stated.get("features"))]
    if to_learn:
        ledger.append(to_learn.origin(stated.get("labeled")))
    return StoredRun(
        config=config,
        predictions=stored,
        backbone=backbone,
        labeled=to_learn,
        evaluation=to_evaluate,
        class_names=class_names,
        learned=learned,
        evaluated=evaluated,
        ledger=licenses.merge(ledger),
    )


def _open_predictions(
    directory: str, backbone: FeatureSource | None, labeled: str | None
) -> PredictionSet:
    """Returns predictions with embeddings; ValueError if they are no such features.

    Without `labeled` they must hold labels.
    """
    stored = open_predictions(directory)
    stored.check_features()
    if backbone is not None and backbone.fingerprint != stored.features:
        raise ValueError(
            f"--backbone={backbone.spec} computes other features than those of "
            f"{directory}: expected {stored.features[:12]}, got "
            f"{backbone.fingerprint[:12]}; give the network that labeled the images"
        )
    if labeled is None and not stored.has_true_labels:
        raise ValueError(f"{directory} holds no labels: give --labeled= as well")
    return stored
