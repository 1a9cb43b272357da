"""A run of `teacher.probe`: from labeled images to a classifier and its calibration."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from classifier.data import inspection, remarks
from classifier.data.class_names import check_same_classes
from classifier.data.sources import Source, open_source
from classifier.export.facts import OWN_CALIBRATION, Evaluation, read_facts
from classifier.features.keras_network import KerasFeatures
from classifier.features.source import FeatureSource, check_rows, describe
from classifier.inference import calibration
from classifier.probing import embeddings, probe, zero_shot
from classifier.probing.config import ProbeConfig
from classifier.probing.input_choice import ChosenInput, InputChoice
from classifier.probing.probe import Probe
from classifier.training import input_pipeline
from classifier.training.trainer import NUM_CHECKED
from stage import artifact, licenses
from stage.calibration_files import HELD_OUT
from stage.cli import Log
from stage.licenses import Ledger, Origin


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ProbeRun:
    """A probe to make, with checked inputs.

    Attributes:
        config: How the head is fitted.
        features: Network that gives the embeddings.
        labeled: Images to learn from; those to calibrate on, or None, for a zero-shot
            head.
        evaluation: Images to evaluate on.
        class_names: K names by label.
        class_embeddings: float32 [K,D] of a zero-shot head; None to learn.
        chosen_input: Input of the network, if it was chosen by the labeled images.
        ledger: What it is made of.
    """

    config: ProbeConfig
    features: FeatureSource
    labeled: Source | None
    evaluation: Source
    class_names: tuple[str, ...]
    class_embeddings: NDArray[np.float32] | None = None
    chosen_input: ChosenInput | None = None
    ledger: Ledger = ()

    def describe(self) -> dict[str, Any]:
        """Returns the content of the classifier's `config.json`."""
        labeled = self.labeled.describe() if self.labeled else None
        how: dict[str, Any] = {
            "probe": dataclasses.asdict(self.config),
            "labeled": labeled,
        }
        if self.class_embeddings is not None:
            content = _fingerprint(self.class_embeddings)
            how = {"class_embeddings": content, HELD_OUT: labeled}
        return {
            **describe(self.features),
            **how,
            "chosen_input": (
                dataclasses.asdict(self.chosen_input) if self.chosen_input else None
            ),
            "evaluation": self.evaluation.describe(),
            "class_names": self.class_names,
        }

    def make(self, workdir: epath.PathLike, log: Log) -> Evaluation:
        """Writes the classifier and its calibration into the started directory.

        Returns its evaluation.

        Raises:
            ValueError: If an image cannot be decoded, or has no finite embedding.
            OSError: If a file cannot be written.
        """
        if self.labeled is not None:
            for line in remarks.describe(
                self.labeled, self.evaluation, side=self.features.image.size
            ):
                log(line)
        extractor = self.features.load()
        labeled = embeddings.embed(self.labeled, extractor) if self.labeled else None
        if self.class_embeddings is not None:
            found = probe.compare_names(self.class_embeddings, labeled)
        elif labeled is not None:
            found = probe.fit(labeled, self.config)
        else:
            raise ValueError("expected labeled images or class embeddings, got neither")
        for line in found.lines:
            log(line)
        evaluation = embeddings.evaluate(
            found.head, embeddings.embed(self.evaluation, extractor)
        )
        learned_from = self.labeled if self.class_embeddings is None else None
        self.features.export(
            found.head,
            workdir,
            class_names=self.class_names,
            evaluation=evaluation,
            num_embedded=learned_from.num_examples if learned_from else 0,
        )
        if self.labeled is not None:
            calibrate(found, self.labeled.describe(), workdir, log)
        log(embeddings.describe(evaluation))
        return evaluation


def open_run(
    features: FeatureSource,
    config: ProbeConfig,
    choice: InputChoice | None,
    *,
    labeled: str | None,
    evaluation: str,
    class_embeddings: str | None = None,
    stated: Mapping[str, str] = MappingProxyType({}),
    **how: Any,
) -> ProbeRun:
    """Opens the images, reads them once, and chooses the input of the features.

    Without `choice` the features keep theirs. `how` are arguments of `open_source`,
    `stated` has the licenses of `licenses.parse`.

    Raises:
        ValueError: If images, labels or class embeddings cannot be used.
        FileNotFoundError: If one of them does not exist.
    """
    if labeled is None and class_embeddings is None:
        raise ValueError("expected --labeled, or --class_embeddings, got neither")
    if class_embeddings is not None and isinstance(features, KerasFeatures):
        raise ValueError(
            f"--class_embeddings needs features that are compared by their cosine: "
            f"expected an ONNX file, a SavedModel or a KerasHub preset, got "
            f"{features.spec}, whose last layer takes them as they are"
        )
    sources = _open_sources([spec for spec in (evaluation, labeled) if spec], **how)
    class_names = sources[0].labeled_class_names()
    check_rows(features)
    rows, chosen, ledger = None, None, []
    if class_embeddings is None:
        labels = [label for file in sources[1].labels for _, label in file]
        embeddings.check_classes(np.array(labels), class_names, sources[1].spec)
        if choice is not None:
            features, chosen = choice.choose(features, sources[1], config)
        ledger.append(sources[1].origin(stated.get("labeled")))
    else:
        rows = zero_shot.read_class_embeddings(
            class_embeddings, num_classes=len(class_names), size=features.size
        )
        name = licenses.public_name(class_embeddings)
        origin = Origin(kind="weights", name=name, fingerprint=_fingerprint(rows))
        ledger.append(licenses.state(origin, stated.get("class_embeddings")))
    return ProbeRun(
        config=config,
        features=features,
        labeled=sources[1] if labeled else None,
        evaluation=sources[0],
        class_names=class_names,
        class_embeddings=rows,
        chosen_input=chosen,
        ledger=licenses.merge([*_trace(features, stated.get("features")), *ledger]),
    )


def _open_sources(specs: Sequence[str], **how: Any) -> Sequence[Source]:
    """Returns labeled sources of the same classes, read once."""
    sources = [open_source(spec, **how) for spec in specs]
    for source in sources[1:]:
        check_same_classes(
            sources[0].labeled_class_names(), source.labeled_class_names(), source.spec
        )
    sources = [inspection.inspect(source, for_training=True) for source in sources]
    for source in sources:
        input_pipeline.check_decoding(source, count=NUM_CHECKED)
    return sources


def calibrate(
    found: Probe, labeled: dict[str, Any], workdir: epath.PathLike, log: Log
) -> None:
    """Writes the calibration of the exported probe in the directory, if there is one.

    `labeled` describes the images that it was predicted for.
    """
    if not found.predicted:
        return
    started = time.monotonic()
    facts = read_facts(workdir)
    output = epath.Path(workdir) / OWN_CALIBRATION
    config = {
        "teachers": [facts.fingerprint],
        "kind": found.kind,
        "labeled": labeled,
        "class_names": facts.class_names,
    }
    # If a killed run has begun it, its head may differ in the last bits.
    making = artifact.making(output, config, started=started, may_change="teachers")
    with making as run:
        if run is not None:
            figures = calibration.write(output, config, found.predicted)
            for line in calibration.describe(figures):
                log(line)


def _trace(features: FeatureSource, license: str | None) -> Ledger:
    """Returns what features are made of; `license` is what the user stated."""
    published = {"sha256": features.fingerprint, **features.origin}
    return licenses.trace(features.spec, published, license)


def _fingerprint(rows: NDArray[np.float32]) -> str:
    return artifact.fingerprint([rows.tobytes()])
