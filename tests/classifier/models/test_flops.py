import keras
import pytest

from classifier.models import factory, flops
from classifier.models.config import ModelConfig


def count(*layers, shape=(9, 8, 6)):
    return flops.count_multiply_adds(keras.Sequential([keras.Input(shape), *layers]))


def test_multiply_adds_of_single_layers():
    layers = keras.layers
    # 7x6 places, 3x3 of 6 channels to 4; a bias is no multiplication.
    assert count(layers.Conv2D(4, 3)) == 7 * 6 * 3 * 3 * 6 * 4
    assert count(layers.Conv2D(4, 3, strides=2, padding="same")) == 5 * 4 * 9 * 6 * 4
    assert count(layers.Conv2D(4, 1, groups=2)) == 9 * 8 * 3 * 4
    assert count(layers.DepthwiseConv2D(3, padding="same")) == 9 * 8 * 9 * 6
    separable = layers.SeparableConv2D(10, 3, padding="same")
    assert count(separable) == 9 * 8 * 9 * 6 + 9 * 8 * 6 * 10
    assert count(layers.Flatten(), layers.Dense(11)) == 9 * 8 * 6 * 11
    assert count(layers.ReLU(), layers.BatchNormalization()) == 0


def test_a_training_costs_three_passes_forward_an_image_and_one_without_gradient():
    arguments = {"num_steps": 10, "with_gradient": 64}
    assert flops.training_multiply_adds(7, **arguments) == 10 * 64 * 3 * 7
    # FixMatch: 8 labeled images and 56 strong views, whose weak views label them.
    weak = flops.training_multiply_adds(7, **arguments, without_gradient=56)
    assert weak == 10 * (64 * 3 + 56) * 7


@pytest.mark.parametrize(
    ("name", "parameters", "billion"),
    [("EfficientNetB0", 5.3e6, 0.39), ("ConvNeXtTiny", 28.6e6, 4.5)],
)
@pytest.mark.usefixtures("zero_weights")
def test_other_networks_count_as_their_papers_state(name, parameters, billion):
    model = factory.build_network(
        ModelConfig(name=name), image_size=224, num_classes=1000
    )
    assert factory.count_parameters(model) == pytest.approx(parameters, rel=0.01)
    multiply_adds = flops.count_multiply_adds(model)
    assert multiply_adds / 1e9 == pytest.approx(billion, rel=0.02)


def test_unknown_operations_are_refused():
    with pytest.raises(ValueError, match="Conv3D"):
        count(keras.layers.Conv3D(2, 1), shape=(4, 4, 4, 3))
