import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.measuring.photographs import make_photographs
from benchmarks.training import randaugment as benchmark
from classifier.data import randaugment
from classifier.data.config import GEOMETRIC_OPERATIONS, OPERATIONS, AugmentConfig
from tests.benchmarks import patched


@pytest.mark.slow
def test_the_command_prints_every_figure():
    # Its process is bound to one core.
    lines = patched.run("benchmarks.training.randaugment", "--seconds=0.02", ROUNDS=3)
    figures = json.loads(lines[-1])
    assert set(figures["images_per_second"]) == {"ours", "pillow", "keras"}
    assert set(figures["microseconds_per_operation"]) == set(OPERATIONS)
    ours = figures["images_per_second"]["ours"]
    for peer in ("pillow", "keras"):
        speed = figures["images_per_second"][peer]
        assert figures[f"ratio_to_{peer}"] == pytest.approx(ours / speed, rel=0.02)
    for group in ("images_per_second", "microseconds_per_operation"):
        assert min(figures[group].values()) > 0
    met = "yes" if ours >= 250 else "no"
    (row,) = (line.split() for line in lines if line.startswith("images_per_second"))
    assert row[2:] == [">=", "250", met]


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", OPERATIONS)
def test_pillow_is_asked_for_the_same_policy(name, sign):
    image = make_photographs(np.random.default_rng(1), 1, height=224, width=224)[0]
    position = (0.1, 0.7)
    peer = np.asarray(
        benchmark.with_pillow(name, Image.fromarray(image), sign, position)
    )
    ours = randaugment.apply(
        tf.constant(image),
        AugmentConfig(operations=(name,)),
        choice=tf.constant(0),
        sign=tf.constant(sign),
        position=tf.constant(position),
    ).numpy()
    if name in GEOMETRIC_OPERATIONS:
        # Rounding of halves differs; a slope of 0.3 has one in every tenth row.
        assert np.mean(np.any(peer != ours, axis=-1)) < 0.1
    else:
        np.testing.assert_array_equal(peer, ours)
