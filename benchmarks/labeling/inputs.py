"""What labeling is measured on: photographs and classifiers, made on the spot."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.training.input_pipeline import make_jpegs
from classifier.data.config import ImageConfig
from classifier.training import presets
from classifier.training.config import TrainConfig
from stage import artifact

RESNET = "resnet_rs_50_160"
#: As many pixels and classes, and a network that costs next to nothing.
FREE = "free"
NETWORKS = (RESNET, FREE)
NUM_CLASSES = 1000
#: Different images, 56 MB: more than the caches next to a core hold.
NUM_JPEGS = 512
#: Side of the cells that the free network averages before its one dense layer.
FREE_CELL = 20


def write_jpegs(directory: pathlib.Path) -> list[bytes]:
    """Writes the different images as files, and returns them."""
    directory.mkdir()
    jpegs = list(make_jpegs(np.random.default_rng(0), NUM_JPEGS))
    for index, jpeg in enumerate(jpegs):
        (directory / f"{index:05d}.jpg").write_bytes(jpeg)
    return jpegs


def write_records(
    directory: pathlib.Path, jpegs: Sequence[bytes], *, shards: int, size: int
) -> pathlib.Path:
    """Writes TFRecords of `size` images each, and returns their directory.

    As they are equal, only the first is written; the others are links to it.
    """
    directory.mkdir()
    paths = [directory / f"photographs-{i:05d}.tfrecord" for i in range(shards)]
    _write_file(paths[0], itertools.islice(itertools.cycle(jpegs), size))
    for path in paths[1:]:
        os.link(paths[0], path)
    return directory


def export_network(
    name: str, directory: pathlib.Path, jpegs: Sequence[bytes]
) -> pathlib.Path:
    """Writes a classifier that tells some images apart, and returns its directory."""
    from classifier.export.facts import Evaluation
    from classifier.export.saved_classifier import export_classifier

    recipe = presets.find(RESNET)
    artifact.start_or_resume(
        directory, {"config": dataclasses.asdict(recipe), "network": name}
    )
    model = _build_free(recipe.image.size) if name == FREE else _build(recipe)
    _teach(model, jpegs, recipe.image)
    export_classifier(
        model,
        directory,
        image=recipe.image,
        class_names=class_names(),
        evaluation=Evaluation(num_examples=1, num_correct=0, cross_entropy=0.0),
    )
    artifact.complete(directory, seconds=0.0)
    return directory


def class_names() -> tuple[str, ...]:
    """Returns a name for each class."""
    return tuple(f"class {label}" for label in range(NUM_CLASSES))


def _build(recipe: TrainConfig) -> Any:
    from classifier.models.factory import build_network

    return build_network(
        recipe.model, image_size=recipe.image.size, num_classes=NUM_CLASSES
    )


def _build_free(size: int) -> Any:
    import keras

    inputs = keras.Input((size, size, 3), dtype="uint8")
    cells = keras.layers.Rescaling(1 / 255)(inputs)
    cells = keras.layers.AveragePooling2D(FREE_CELL)(cells)
    logits = keras.layers.Dense(NUM_CLASSES)(keras.layers.Flatten()(cells))
    return keras.Model(inputs, logits, name=FREE)


def _teach(model: Any, jpegs: Sequence[bytes], image: ImageConfig) -> None:
    """Makes each image a class, that of the nearest features: sets the last layer.

    With random weights all logits are nearly equal and rounding decides which is the
    highest; in a trained classifier it does not.
    """
    import keras

    from classifier.data.preprocessing import evaluation_image

    last = model.layers[-1]
    pixels = np.stack([evaluation_image(jpeg, image) for jpeg in jpegs])
    found = keras.Model(model.inputs, last.input).predict(pixels, verbose=0)
    center = found.mean(axis=0)
    apart = found - center
    scale = 1 / apart.var(axis=0).sum()
    kernel = np.zeros((found.shape[1], NUM_CLASSES), np.float32)
    kernel[:, : len(jpegs)] = scale * apart.T
    bias = np.full(NUM_CLASSES, -10.0, np.float32)
    bias[: len(jpegs)] = -scale * (apart @ center + np.square(apart).sum(axis=1) / 2)
    last.set_weights([kernel, bias])


def _write_file(path: pathlib.Path, jpegs: Any) -> None:
    import tensorflow as tf

    from classifier.data.readers import IMAGE_FEATURE

    with tf.io.TFRecordWriter(str(path)) as writer:
        for jpeg in jpegs:
            image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[jpeg]))
            features = tf.train.Features(feature={IMAGE_FEATURE: image})
            writer.write(tf.train.Example(features=features).SerializeToString())
