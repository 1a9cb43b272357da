"""The training step in JAX, looked at from outside: see `jax_program`."""

import json

import pytest

from tests import commands


@pytest.fixture(scope="module")
def found():
    output = commands.finish(
        commands.start(
            "tests.classifier.training.jax_program", devices=8, backend="jax"
        )
    )
    found = json.loads(output.splitlines()[-1])
    assert found["devices"] == 8
    return found


def test_every_convolution_is_lowered_for_tpus_in_bfloat16(found):
    exported = found["exported"]
    # Forward, and the gradients of kernel and input; the image has none.
    assert exported["forward_convolutions"] == 48
    assert exported["convolutions"] == 3 * 48 - 1
    assert exported["convolution_types"] == {"bf16 bf16 bf16": 3 * 48 - 1}


def test_the_step_is_static_and_stays_on_the_tpu(found):
    exported = found["exported"]
    assert exported["dynamic_shapes"] == 0
    # A callback to the host would be one.
    assert exported["custom_calls"] == 0
    assert exported["doubles"] == 0


def test_the_state_is_float32_in_any_precision(found):
    types = found["float32"]["types"]
    assert set(types) == {"float32", "uint32", "int64"}
    assert types["int64"] == 1  # The step.
    assert found["bfloat16"]["types"] == types


def test_bfloat16_follows_float32(found):
    assert found["bfloat16"]["finite"]
    precise, rough = found["float32"]["losses"], found["bfloat16"]["losses"]
    assert precise[-1] < 0.8 * precise[0]
    assert rough != precise
    assert rough == pytest.approx(precise, rel=0.02)


def test_groups_of_a_batch_are_independent_of_the_devices(found):
    spread = found["grouped"]["losses"]
    assert spread == pytest.approx(found["grouped_on_one_device"], rel=1e-3)
    # They are not what the whole batch gives.
    assert spread != pytest.approx(found["float32"]["losses"], rel=1e-3)


def test_groups_as_many_as_devices_cross_them_only_once(found):
    """With the gradients; over the whole batch every layer's statistics cross too."""
    assert found["all_reduces"]["8"] <= 2
    assert found["all_reduces"]["1"] > 2 * 20
