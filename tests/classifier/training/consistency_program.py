"""Steps of consistency training from a file, for `test_consistency_backends`.

A program of its own: Keras has one backend in a process. In JAX it finds eight devices.
"""

import os
import sys

if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"

import dataclasses

import numpy as np

from classifier.models.config import ModelConfig
from classifier.training import consistency, presets, trainer
from classifier.training.config import ConsistencyConfig, OptimizerConfig

NUM_CLASSES, NUM_IMAGES, NUM_STEPS, LABELED, UNLABELED = 3, 20, 4, 8, 24
#: Without noise inside the network, whose random numbers each backend draws in its own
#: way. A batch of positions as many as here and a low rate keep ReLUs' inputs that are
#: zero but for rounding from making a difference.
BASE = dataclasses.replace(
    presets.tiny(),
    model=ModelConfig(name="resnet_rs_14", width_multiplier=0.0625, dropout_rate=0.0),
    optimizer=OptimizerConfig(peak_learning_rate=0.01, warmup_steps=1),
    global_batch_size=LABELED + UNLABELED,
    num_steps=10,
)
#: Thresholds low enough for a fresh network.
VARIANTS = {
    "curriculum": ConsistencyConfig(
        thresholds="curriculum",
        threshold=0.35,
        threshold_warmup=False,
        unlabeled_ratio=3,
        target_kind="sharpened",
    ),
    "self_adaptive": ConsistencyConfig(
        thresholds="self_adaptive",
        threshold_decay=0.5,
        fairness_weight=0.01,
        unlabeled_ratio=3,
        labeler="ema",
    ),
}


def config_of(variant, groups=1):
    model = dataclasses.replace(BASE.model, batch_norm_groups=groups)
    return dataclasses.replace(BASE, model=model, consistency=VARIANTS[variant])


def make_batches():
    """The same random batches in every process."""
    rng = np.random.default_rng(0)
    for _ in range(NUM_STEPS):
        size = BASE.image.size
        is_labeled = np.tile(np.arange(4) < 1, LABELED)
        targets = np.eye(NUM_CLASSES, dtype=np.float32)
        labels = rng.integers(0, NUM_CLASSES, len(is_labeled))
        shape = (len(is_labeled), size, size, 3)
        images = rng.integers(0, 256, shape, np.uint8)
        views = images[~is_labeled] // 2 + 60
        yield {
            "image": images,
            "target": targets[labels] * is_labeled[:, None].astype(np.float32),
            consistency.LABELED: is_labeled,
            consistency.UNLABELED: ~is_labeled,
            consistency.VIEW: views,
            consistency.INDEX: rng.integers(0, NUM_IMAGES, len(views)).astype(np.int32),
        }


def make_backend(backend_class, config, models=()):
    thresholds = consistency.initial_state(
        config.consistency, num_classes=NUM_CLASSES, num_images=NUM_IMAGES
    )
    models = models or [trainer.build(config, num_classes=NUM_CLASSES) for _ in "12"]
    return backend_class(*models, config, thresholds)


def train(backend, count=NUM_STEPS, start=0):
    """Metrics of the steps `start` to `count`."""
    batches = list(make_batches())[start:count]
    steps = [backend.train_step(batch) for batch in batches]
    return [{name: float(value) for name, value in step.items()} for step in steps]


def confidences(backend_class):
    """Mean confidences in bfloat16 of the averaged network, and of a step's targets."""
    config = dataclasses.replace(config_of("self_adaptive"), dtype="bfloat16")
    models = [
        trainer.build(config, num_classes=NUM_CLASSES, dtype=dtype)
        for dtype in ("bfloat16", "float32")
    ]
    backend = make_backend(backend_class, config, models)
    # A fresh network's confidences are even.
    arrays = backend.arrays()
    for name, array in arrays.items():
        if array.ndim == 2 and array.shape[1] == NUM_CLASSES:
            arrays[name] = 100 * array
    backend.load_arrays(arrays)
    batch = next(make_batches())
    logits = np.asarray(backend.predict(batch[consistency.VIEW]), np.float64)
    powers = np.exp(logits)
    expected = (powers / powers.sum(-1, keepdims=True)).max(-1).mean()
    return np.array([expected, backend.train_step(batch)["train/confidence"]])


if __name__ == "__main__":
    from classifier.training.backend_jax import JaxBackend

    directory = sys.argv[1]
    for variant in VARIANTS:
        backend = make_backend(JaxBackend, config_of(variant, groups=8))
        with np.load(f"{directory}/{variant}-before.npz") as before:
            # The seeds of dropout, which is off, have another width.
            backend.load_arrays(dict(before))
        metrics = train(backend)
        arrays = backend.arrays()
        arrays |= {
            f"metrics/{step}/{name}": np.array(value)
            for step, values in enumerate(metrics)
            for name, value in values.items()
        }
        np.savez(f"{directory}/{variant}-after.npz", **arrays)
    np.savez(f"{directory}/bfloat16.npz", confidences(JaxBackend))
