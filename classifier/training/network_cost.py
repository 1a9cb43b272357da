"""The cost of a recipe's network, with any backend of Keras."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os

from classifier.training.config import TrainConfig


def count_multiply_adds(config: TrainConfig, *, num_classes: int) -> int:
    """Returns the multiply-adds of the forward pass of one image.

    They are counted in a TensorFlow graph, and Keras has one backend per process: with
    another one, they are counted in a process of its own.

    Raises:
        ValueError: If the network cannot be built, or has layers that are not counted.
    """
    import keras

    if keras.backend.backend() == "tensorflow":
        return _count(config, num_classes)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_count_with_tensorflow, config, num_classes).result()


def _count_with_tensorflow(config: TrainConfig, num_classes: int) -> int:
    # The accelerators stay with the other process.
    os.environ |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    return _count(config, num_classes)


def _count(config: TrainConfig, num_classes: int) -> int:
    from classifier.models import factory, flops

    model = factory.build_network(
        config.model, image_size=config.image.size, num_classes=num_classes
    )
    return flops.count_multiply_adds(model)
