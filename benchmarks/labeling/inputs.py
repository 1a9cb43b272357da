"""Generated inputs of the labeling benchmark: photographs and classifiers."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import photographs
from classifier.data.config import ImageConfig
from classifier.models.config import ModelConfig
from classifier.training import presets
from stage import artifact

RESNET = "resnet_rs_50_160"
#: A network with the input size and classes of `RESNET` that costs next to nothing.
FREE = "free"
#: A classifier whose network is an ONNX file, of an EfficientNet-Lite0.
ONNX = "onnx"
ONNX_SIZE = 224
NETWORKS = (RESNET, ONNX, FREE)
NUM_CLASSES = 1000
CLASS_NAMES = tuple(f"class {label}" for label in range(NUM_CLASSES))
#: Distinct images, 56 MB: more than the caches next to a core hold.
NUM_JPEGS = 512
#: Side of the cells that the free network averages before its only dense layer.
FREE_CELL = 20


def write_jpegs(directory: pathlib.Path) -> list[bytes]:
    """Writes the distinct images as files, and returns them."""
    directory.mkdir()
    jpegs = list(photographs.make_jpegs(np.random.default_rng(0), NUM_JPEGS))
    for index, jpeg in enumerate(jpegs):
        (directory / f"{index:05d}.jpg").write_bytes(jpeg)
    return jpegs


def write_records(
    directory: pathlib.Path, jpegs: Sequence[bytes], *, shards: int, size: int
) -> None:
    """Writes TFRecords of `size` images each: equal files, so all but one are links."""
    directory.mkdir()
    first, *others = [directory / f"photos-{i:05d}.tfrecord" for i in range(shards)]
    images = itertools.islice(itertools.cycle(jpegs), size)
    photographs.write_tfrecord(first, map(photographs.make_example, images))
    for path in others:
        path.hardlink_to(first)


def export_network(name: str, directory: pathlib.Path, jpegs: Sequence[bytes]) -> None:
    """Writes a classifier that distinguishes the images."""
    if name == ONNX:
        _export_onnx(directory, jpegs)
        return
    from classifier.models.factory import build_network

    recipe = presets.find(RESNET)
    size = recipe.image.size
    if name == FREE:
        model = _build_free(size)
    else:
        model = build_network(recipe.model, image_size=size, num_classes=NUM_CLASSES)
    _fit_last_layer(model, jpegs, recipe.image)
    config = {"config": dataclasses.asdict(recipe), "network": name}
    _export_keras(model, directory, recipe.image, config)


def _export_keras(
    model: Any, directory: pathlib.Path, image: ImageConfig, config: dict[str, Any]
) -> None:
    from classifier.export.facts import Evaluation
    from classifier.export.saved_classifier import export_classifier

    artifact.start_or_resume(directory, config)
    export_classifier(
        model,
        directory,
        image=image,
        class_names=CLASS_NAMES,
        evaluation=Evaluation(num_examples=1, num_correct=0, cross_entropy=0.0),
    )
    artifact.complete(directory, seconds=0.0)


def _export_onnx(directory: pathlib.Path, jpegs: Sequence[bytes]) -> None:
    """Writes a network as an ONNX file, and a classifier with its logits as features.

    The weights are random: what they are has no influence on the speed.
    """
    from classifier.export.facts import Evaluation
    from classifier.export.head import Head
    from classifier.features.opening import open_features
    from classifier.features.source import describe
    from classifier.inference import conversion
    from classifier.models.factory import build_network

    image = ImageConfig(size=ONNX_SIZE)
    model = ModelConfig(name="EfficientNetLite0")
    config = {"config": {"model": dataclasses.asdict(model)}}
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch)
        network = build_network(model, image_size=ONNX_SIZE, num_classes=NUM_CLASSES)
        _export_keras(network, path / "keras", image, config)
        conversion.export(path / "keras", str(path / "network.onnx"))
        source = open_features(f"onnx:{path}/network.onnx")
    extractor = source.load()
    kernel, bias = _nearest(extractor(extractor.preprocess(jpegs)))
    artifact.start_or_resume(directory, describe(source))
    source.export(
        Head(kernel, bias),
        directory,
        class_names=CLASS_NAMES,
        evaluation=Evaluation(num_examples=1, num_correct=0, cross_entropy=0.0),
    )
    artifact.complete(directory, seconds=0.0)


def _build_free(size: int) -> Any:
    import keras

    inputs = keras.Input((size, size, 3), dtype="uint8")
    cells = keras.layers.Rescaling(1 / 255)(inputs)
    cells = keras.layers.AveragePooling2D(FREE_CELL)(cells)
    logits = keras.layers.Dense(NUM_CLASSES)(keras.layers.Flatten()(cells))
    return keras.Model(inputs, logits, name=FREE)


def _fit_last_layer(model: Any, jpegs: Sequence[bytes], image: ImageConfig) -> None:
    """Sets the last layer to a nearest-neighbor classifier, one class per image.

    With random weights all logits are nearly equal, and rounding would decide which
    is the highest; in a trained classifier it does not.
    """
    import keras

    from classifier.data.preprocessing import evaluation_image

    last = model.layers[-1]
    pixels = np.stack([evaluation_image(jpeg, image) for jpeg in jpegs])
    features = keras.Model(model.inputs, last.input).predict(pixels, verbose=0)
    last.set_weights(_nearest(features))


def _nearest(features: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Returns kernel and bias of a nearest-neighbor classifier, one class per image."""
    center = features.mean(axis=0)
    offsets = features - center
    scale = 1 / offsets.var(axis=0).sum()
    kernel = np.zeros((features.shape[1], NUM_CLASSES), np.float32)
    kernel[:, : len(features)] = scale * offsets.T
    bias = np.full(NUM_CLASSES, -10.0, np.float32)
    norms = np.square(offsets).sum(axis=1) / 2
    bias[: len(features)] = -scale * (offsets @ center + norms)
    return [kernel, bias]
