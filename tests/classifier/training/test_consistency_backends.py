"""Consistency training is the same with TensorFlow, and with JAX on eight devices."""

import numpy as np
import pytest
import tensorflow as tf

from classifier.training.backend_tensorflow import TensorFlowBackend
from tests import commands
from tests.classifier.training import consistency_program as program


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Directory of the arrays of JAX."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(root):
    """By variant: arrays after some steps of TensorFlow, its metrics, and JAX's."""
    backends = {}
    for variant in program.VARIANTS:
        config = program.config_of(variant, groups=8)
        backends[variant] = program.make_backend(TensorFlowBackend, config)
        np.savez(root / f"{variant}-before.npz", **backends[variant].arrays())
    name = program.__name__
    process = commands.start(name, str(root), devices=8, backend="jax")
    found = {}
    for variant, backend in backends.items():
        metrics = program.train(backend)
        found[variant] = [backend.arrays(), metrics]
    commands.finish(process)
    for variant, each in found.items():
        with np.load(root / f"{variant}-after.npz") as after:
            each.append(dict(after))
    return found


@pytest.mark.parametrize("variant", program.VARIANTS)
def test_both_backends_compute_the_same(runs, variant):
    expected, metrics, found = runs[variant]
    assert metrics[0]["train/confident"] > 0
    for step, values in enumerate(metrics):
        for name, value in values.items():
            assert found[f"metrics/{step}/{name}"] == pytest.approx(
                value, rel=1e-3, abs=1e-4
            ), (step, name)
    for name, array in expected.items():
        if array.dtype == np.float32:
            np.testing.assert_allclose(found[name], array, atol=2e-3, err_msg=name)
    thresholds = [name for name in expected if name.startswith("thresholds/")]
    assert thresholds
    for name in thresholds:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, err_msg=name)


def test_averages_label_in_float32_while_the_network_trains_in_bfloat16(runs, root):
    del runs  # They have made the file.
    with np.load(root / "bfloat16.npz") as found:
        (of_jax,) = found.values()
    for expected, confidence in (of_jax, program.confidences(TensorFlowBackend)):
        assert confidence == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("variant", program.VARIANTS)
def test_a_state_resumes_to_the_bit(variant):
    tf.config.experimental.enable_op_determinism()
    config = program.config_of(variant)
    whole, second = (program.make_backend(TensorFlowBackend, config) for _ in "12")
    program.train(whole, count=2)
    second.load_arrays(whole.arrays())
    after = [program.train(backend, start=2) for backend in (whole, second)]
    assert after[0] == after[1]
    arrays = whole.arrays(), second.arrays()
    assert arrays[0].keys() == arrays[1].keys()
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(arrays[1][name], array, err_msg=name)
