"""Facts about the training step in JAX, as one line of JSON for `test_backend_jax`.

A program of its own: Keras has one backend in a process. It finds eight devices.
"""

import collections
import dataclasses
import json
import re

import jax
import numpy as np
from jax import export

from classifier.models import factory
from classifier.models.config import ModelConfig
from classifier.training import backend_jax, presets
from classifier.training.config import OptimizerConfig

_TENSOR = r"tensor<(?:\d+x)*(\w+)>"
#: Types of an operation's two operands and its result in StableHLO's text.
_TYPES = rf"\({_TENSOR}, {_TENSOR}\) -> {_TENSOR}"


def build(config):
    return factory.build_network(
        config.model,
        image_size=config.image.size,
        num_classes=10,
        dtype=config.dtype,
    )


def exported():
    """The step of the published recipe, lowered for TPUs."""
    config = dataclasses.replace(
        presets.find("resnet_rs_50_160"),
        # Blocks with and without a projection, as in deeper networks.
        model=ModelConfig(name="resnet_rs_26"),
        global_batch_size=8,
        dtype="bfloat16",
    )
    model = build(config)
    step = jax.jit(backend_jax.make_train_step(model, config))
    inputs = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype),
        backend_jax.shapes(model, config, backend_jax.layout_on(jax.devices())),
    )
    text = export.export(step, platforms=["tpu"])(*inputs).mlir_module()
    kinds = collections.Counter(
        re.findall(rf"stablehlo\.convolution\(.*?: {_TYPES}", text)
    )
    return {
        "convolutions": len(re.findall(r"stablehlo\.convolution\(", text)),
        "convolution_types": {" ".join(kind): n for kind, n in kinds.items()},
        "forward_convolutions": sum(
            isinstance(layer, factory.keras.layers.Conv2D)
            for layer in model._flatten_layers()
        ),
        "dynamic_shapes": text.count("tensor<?"),
        "custom_calls": text.count("custom_call"),
        "doubles": len(re.findall(r"[x<]f64", text)),
    }


def small(**changes):
    return dataclasses.replace(
        presets.tiny(),
        model=ModelConfig(
            name="resnet_rs_14", width_multiplier=0.0625, dropout_rate=0.0, **changes
        ),
        optimizer=OptimizerConfig(peak_learning_rate=0.1, warmup_steps=1),
        global_batch_size=16,
        num_steps=10,
    )


def batch(config):
    rng = np.random.default_rng(0)
    shape = (config.global_batch_size, config.image.size, config.image.size, 3)
    targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, shape[0])]
    return {"image": rng.integers(0, 256, shape, np.uint8), "target": targets}


def steps(config, count=3):
    """Losses of some steps, and the types of all that the state holds."""
    model = build(config)
    backend = backend_jax.JaxBackend(model, build(config), config)
    losses = [
        float(backend.train_step(batch(config))["train/loss"]) for _ in range(count)
    ]
    arrays = backend.arrays()
    kinds = collections.Counter(str(array.dtype) for array in arrays.values())
    finite = all(np.isfinite(array).all() for array in arrays.values())
    return {"losses": losses, "types": kinds, "finite": finite}


def all_reduces(groups):
    """Their number in the step of eight devices."""
    config = small(batch_norm_groups=groups)
    model = build(config)
    layout = backend_jax.layout_on(jax.devices())
    inputs = backend_jax.shapes(model, config, layout)
    compiled = backend_jax.jit_train_step(model, config, layout).lower(*inputs)
    return len(re.findall(r" all-reduce(?:-start)?\(", compiled.compile().as_text()))


def grouped_on_one_device():
    """Losses of the grouped step where one device holds all groups."""
    config = small(batch_norm_groups=8)
    model = build(config)
    layout = backend_jax.layout_on(jax.devices()[:1])
    step = backend_jax.jit_train_step(model, config, layout)
    state = jax.device_put(backend_jax.initial_state(model), layout.replicated)
    losses = []
    for _ in range(3):
        state, metrics = step(state, jax.device_put(batch(config), layout.split))
        losses.append(float(metrics["train/loss"]))
    return losses


if __name__ == "__main__":
    found = {
        "devices": jax.device_count(),
        "exported": exported(),
        "float32": steps(small()),
        "bfloat16": steps(dataclasses.replace(small(), dtype="bfloat16")),
        "grouped": steps(small(batch_norm_groups=8)),
        "grouped_on_one_device": grouped_on_one_device(),
        "all_reduces": {groups: all_reduces(groups) for groups in (1, 8)},
    }
    print(json.dumps(found))  # noqa: T201
