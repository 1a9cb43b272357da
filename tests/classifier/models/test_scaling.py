import math

import pytest

from classifier import summary
from classifier.models import scaling, variants
from classifier.models.config import ModelConfig

RS50 = ModelConfig(name="resnet_rs_50")


def flops(depth, size):
    return summary.PUBLISHED[depth, size][1] * 1e9


def estimate_flops(model, size):
    """The cost that `scale` assumes: equal blocks, and a constant for the rest."""
    blocks = variants.num_blocks(model.depth) + scaling._FIXED_BLOCKS
    return 0.571e9 * blocks * (size / 256) ** 2 * model.width_multiplier**2


@pytest.mark.parametrize(("depth", "size"), scaling.PUBLISHED_SIZES)
def test_the_estimate_is_close_to_the_published_flops(depth, size):
    model = ModelConfig(name=f"resnet_rs_{depth}")
    assert estimate_flops(model, size) == pytest.approx(flops(depth, size), rel=0.02)


@pytest.mark.parametrize(
    ("depth", "size"),
    [(14, 160), (50, 160), (101, 160), (104, 192), (200, 256), (299, 256), (420, 320)],
)
def test_the_slow_rule_takes_the_smallest_published_size(depth, size):
    assert scaling.slow_image_size(depth) == size


def test_long_training_makes_it_deeper_and_the_image_slowly_larger():
    factor = flops(350, 256) / flops(50, 160)
    model, size = scaling.scale(RS50, image_size=160, factor=factor, num_epochs=350)
    assert size == 256
    assert model.width_multiplier == 1.0
    assert model.depth == pytest.approx(350, abs=6)
    assert model.stochastic_depth_rate == 0.1


def test_short_training_makes_it_wider():
    model, size = scaling.scale(RS50, image_size=160, factor=4, num_epochs=100)
    assert model.depth == 50
    growth = estimate_flops(model, size) / estimate_flops(RS50, 160)
    assert growth == pytest.approx(4, rel=0.02)
    # EfficientNet's rule raises the side by 1.15 for each doubling.
    assert 160 < size <= 160 * 1.15 ** math.log2(4) + scaling.SIZE_STEP / 2


def test_the_resolution_stays_at_320():
    model = ModelConfig(name="resnet_rs_101")
    scaled, size = scaling.scale(model, image_size=320, factor=3, num_epochs=400)
    assert size == 320
    assert scaled.depth > 300
    assert scaled.dropout_rate == 0.4


def test_a_factor_of_one_changes_nothing():
    assert scaling.scale(RS50, image_size=160, factor=1, num_epochs=350) == (RS50, 160)


def test_what_cannot_be_scaled_is_refused():
    with pytest.raises(ValueError, match="VGG16"):
        scaling.scale(
            ModelConfig(name="VGG16"), image_size=224, factor=2, num_epochs=350
        )
    with pytest.raises(ValueError, match=r"scale .*-1"):
        scaling.scale(RS50, image_size=160, factor=-1, num_epochs=350)
    with pytest.raises(ValueError, match=r"\d{4,}"):
        scaling.scale(RS50, image_size=320, factor=99, num_epochs=350)
