import keras
import pytest

from classifier.models import flops
from classifier.training import network_cost


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_network_is_counted_with_any_backend(
    exported, config, monkeypatch, backend
):
    """With another one than TensorFlow, in a process that inherits its setting."""
    _, model = exported
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    counted = network_cost.count_multiply_adds(config, num_classes=3)
    assert counted == flops.count_multiply_adds(model)
