"""Licenses of the ImageNet weights of `keras.applications`, as Keras stated them.

Keras's documentation of 2018 and 2019 (`docs/templates/applications.md`) gave one for
each family of that time; that of today gives none, so later families are unknown here.
"""

from __future__ import annotations

import re

_STATED = {
    r"Xception": "MIT",
    r"VGG(16|19)": "CC-BY-4.0",
    r"ResNet(50|101|152)": "MIT",
    r"ResNet(50|101|152)V2": "BSD (of facebook/fb.resnet.torch)",
    r"Inception(V3|ResNetV2)": "Apache-2.0",
    r"MobileNet(V2)?": "Apache-2.0",
    r"DenseNet(121|169|201)": "BSD-3-Clause",
    r"NASNet(Large|Mobile)": "Apache-2.0",
}


def license_of(network: str) -> str:
    """Returns the license of a network's ImageNet weights; "" if none is stated.

    `network` is its name in `keras.applications`.
    """
    found = [text for name, text in _STATED.items() if re.fullmatch(name, network)]
    return found[0] if found else ""
