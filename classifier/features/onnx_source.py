"""Features of an ONNX file, and of a classifier whose network is one."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from etils import epath

from classifier.data.config import ImageConfig
from classifier.export import onnx_file
from classifier.export.facts import (
    ClassifierFacts,
    Evaluation,
    features_fingerprint,
)
from classifier.export.head import Head
from classifier.export.onnx_classifier import export_onnx_classifier
from classifier.export.onnx_file import NETWORK
from classifier.features import onnx_graph
from classifier.features.graph_config import (
    GraphConfig,
    check_scaling,
    read_settings,
)
from classifier.features.onnx_graph import GraphInput
from classifier.features.source import Extractor, check_head
from classifier.inference.conversion import compare, sample_pixels
from classifier.inference.onnx_network import open_session, run_session
from classifier.models.embedding import EMBEDDING, LOGITS
from classifier.models.onnx_flops import count_multiply_adds
from stage.cli import Log
from stage.typed_json import error_message

#: Images that a graph is tried with.
_NUM_BLANK = 2


@dataclasses.dataclass(frozen=True, eq=False)
class OnnxFeatures:
    """Features of an ONNX graph, see `source.FeatureSource`.

    Attributes:
        spec: What the user calls the source, for messages.
        model: ONNX model from `pixels` to `embedding`.
        image: Evaluation preprocessing.
        fingerprint: SHA-256 of what determines the embedding of an encoded image.
        origin: What the features are of, for `config.json`.
    """

    spec: str
    model: Any
    image: ImageConfig
    fingerprint: str
    origin: dict[str, Any]
    settings: ClassVar[dict[str, Any]] = {}  # All is in the graph.

    @functools.cached_property
    def size(self) -> int:
        """Number of features D."""
        return onnx_file.shape(self.model.graph.output[0])[1]

    def load(self, threads: int | None = None) -> Extractor:
        """Returns the network on ONNX Runtime."""
        run = _load(self.model, EMBEDDING, threads)
        return Extractor(self.image, run)

    def export(
        self,
        head: Head,
        directory: epath.PathLike,
        *,
        class_names: tuple[str, ...],
        evaluation: Evaluation,
        num_embedded: int = 0,
    ) -> None:
        """Writes a classifier with a head on these features."""
        check_head(head, self.size, class_names)
        model = onnx_graph.add_head(self.model, head)
        onnx_graph.check(model)
        pixels = sample_pixels(self.image.size)
        expected = head.logits(_load(self.model, EMBEDDING)(pixels))
        agreement = compare(expected, _load(model, LOGITS)(pixels))
        if not agreement.is_close:
            raise ValueError(f"{self.spec}: with its head it differs: {agreement}")
        export_onnx_classifier(
            model,
            directory,
            head=head,
            image=self.image,
            class_names=class_names,
            evaluation=evaluation,
            more={"features": self.fingerprint, **_count(model, num_embedded)},
        )


def open_file(path: str, assignments: Sequence[str], log: Log) -> OnnxFeatures:
    """Returns the features of an ONNX file; `log` receives what was assumed.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is none of a network of images, or a setting does not fit.
    """
    spec = f"onnx:{path}"
    backbone = onnx_file.read_model(path)
    settings = read_settings(path, assignments)
    try:
        graph_input = onnx_graph.find_input(backbone, settings.config)
        settings = settings.with_size(graph_input.size)
        check_scaling(assignments, scales=not graph_input.takes_bytes)
        model = _choose(backbone, graph_input, settings.config)
    except ValueError as error:
        raise ValueError(f"{spec}: {error}") from error
    if assumed := settings.assumed(scales=not graph_input.takes_bytes):
        log(f"{spec}: assumed {assumed}; --set= changes it")
    described = dataclasses.asdict(settings.config)
    name, file = pathlib.Path(path).name, epath.Path(path).read_bytes()
    content = [
        json.dumps(described, sort_keys=True).encode(),
        backbone.SerializeToString(deterministic=True),
    ]
    return OnnxFeatures(
        spec=spec,
        model=model,
        image=settings.config.image,
        fingerprint=features_fingerprint(settings.config.image, content),
        origin={
            "source": f"onnx:{name}",
            "file": name,
            "sha256": hashlib.sha256(file).hexdigest(),
            "settings": described,
        },
    )


def open_classifier(
    spec: str, facts: ClassifierFacts, image: ImageConfig
) -> OnnxFeatures:
    """Returns the features of a classifier whose network is an ONNX file.

    The preprocessing may be another than the classifier's, but for the size.
    """
    path = epath.Path(spec)
    onnx_file.check_network(path, facts)
    if image.size != facts.image.size:
        raise ValueError(
            f"{spec}: the network takes images of {facts.image.size} pixels, got "
            f"image.size={image.size}"
        )
    model = onnx_file.parse((path / NETWORK).read_bytes(), str(path / NETWORK))
    features = facts.features or facts.fingerprint
    return OnnxFeatures(
        spec=spec,
        model=onnx_graph.remove_head(model),
        image=image,
        fingerprint=(
            features
            if image == facts.image
            else features_fingerprint(image, [features.encode()])
        ),
        origin={"classifier": facts.fingerprint},
    )


def _choose(backbone: Any, graph_input: GraphInput, config: GraphConfig) -> Any:
    """Returns a model from `pixels` to `embedding`, which is run once for its shape."""
    wrapped = onnx_graph.wrap(backbone, graph_input, config)
    side = config.image.size
    # Several images: exporters may fix the one that they were shown.
    blank = np.zeros((graph_input.batch or _NUM_BLANK, side, side, 3), np.uint8)
    chosen = onnx_graph.choose_output(
        wrapped, _run(wrapped, blank), layout=graph_input.layout, config=config
    )
    onnx_graph.check(chosen)
    return chosen


def _run(model: Any, pixels: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the outputs that have a row for each image."""
    session = open_session(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    try:
        arrays = session.run(names, {onnx_file.PIXELS: pixels})
    except Exception as error:  # ONNX Runtime's have no class in common.
        raise ValueError(
            f"ONNX Runtime cannot run it: {error_message(error)}"
        ) from error
    shapes = {name: np.shape(array) for name, array in zip(names, arrays, strict=True)}
    return {
        name: sides for name, sides in shapes.items() if sides[:1] == pixels.shape[:1]
    }


def _count(model: Any, num_embedded: int) -> dict[str, float]:
    """Returns the multiply-adds, by name; none if the graph's cannot be counted."""
    of_image = float(count_multiply_adds(model) or 0)
    training = of_image * max(1, num_embedded)
    return (
        {"image_multiply_adds": of_image, "multiply_adds": training} if of_image else {}
    )


def _load(model: Any, output: str, threads: int | None = None) -> Any:
    """Returns a model as a function from pixels to one output."""
    run = run_session(open_session(model.SerializeToString(), threads), [output])
    return lambda pixels: run(pixels)[0]
