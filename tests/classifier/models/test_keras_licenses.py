import pytest

from classifier.models.keras_licenses import license_of
from classifier.models.variants import KERAS_APPLICATIONS


@pytest.mark.parametrize(
    ("network", "stated"),
    [
        ("VGG16", "CC-BY-4.0"),
        ("ResNet50", "MIT"),
        ("ResNet101V2", "BSD (of facebook/fb.resnet.torch)"),
        ("MobileNetV2", "Apache-2.0"),
        ("MobileNetV3Small", ""),
        ("EfficientNetV2S", ""),
        ("ResNet50x", ""),
    ],
)
def test_licenses_are_those_that_keras_has_stated(network, stated):
    assert license_of(network) == stated


def test_families_after_2019_are_unknown():
    unknown = {name for name in KERAS_APPLICATIONS if not license_of(name)}
    families = ("ConvNeXt", "EfficientNet", "MobileNetV3")
    assert unknown == {n for n in KERAS_APPLICATIONS if n.startswith(families)}
