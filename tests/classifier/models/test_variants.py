import keras
import pytest

from classifier.models import variants


def test_names_of_other_networks_are_those_keras_has():
    known = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(variants.KERAS_APPLICATIONS) == known


@pytest.mark.parametrize("depth", range(14, 420, 3))
def test_blocks_of_any_depth_add_up_and_lie_between_published_ones(depth):
    blocks = variants.stage_blocks(depth)
    assert 2 + 3 * sum(blocks) == depth
    known = [14, *variants.PUBLISHED_BLOCKS]
    below = variants.stage_blocks(max(d for d in known if d <= depth))
    above = variants.stage_blocks(min(d for d in known if d >= depth))
    for low, count, high in zip(below, blocks, above, strict=True):
        assert low - 1 <= count <= high + 1  # The third stage takes the rounding.


def test_interpolated_blocks_are_the_usual_ones_where_there_are_any():
    assert variants.stage_blocks(26) == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("depth", "nearest"), [(0, 14), (13, 14), (51, 50), (300, 299), (9999, 420)]
)
def test_other_depths_are_refused(depth, nearest):
    with pytest.raises(ValueError, match=rf"\b{nearest}$"):
        variants.stage_blocks(depth)


def test_depth_of_a_name():
    assert variants.depth_of("resnet_rs_101") == 101
    assert variants.depth_of("EfficientNetV2B0") is None
    assert variants.depth_of("resnet_rs_50_160") is None
