import numpy as np
import pytest

from examples.pretrained import timm_names

#: From the state of timm's `tf_efficientnet_lite0`.
NAMES = {
    "_conv_stem.weight": "conv_stem.weight",
    "_bn0.running_mean": "bn1.running_mean",
    "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
    "_blocks.0._bn1.weight": "blocks.0.0.bn1.weight",
    "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
    "_blocks.0._bn2.bias": "blocks.0.0.bn2.bias",
    "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
    "_blocks.2._bn0.weight": "blocks.1.1.bn1.weight",
    "_blocks.7._depthwise_conv.weight": "blocks.3.2.conv_dw.weight",
    "_blocks.8._bn1.running_var": "blocks.4.0.bn2.running_var",
    "_blocks.14._project_conv.weight": "blocks.5.3.conv_pwl.weight",
    "_blocks.15._bn2.bias": "blocks.6.0.bn3.bias",
    "_conv_head.weight": "conv_head.weight",
    "_bn1.weight": "bn2.weight",
    "_fc.bias": "classifier.bias",
}


def test_each_weight_gets_its_name_in_timm():
    weights = {name: np.array([i]) for i, name in enumerate(NAMES)}
    weights["_bn0.num_batches_tracked"] = np.array(0)
    renamed = timm_names.rename(weights)
    assert {name: int(value[0]) for name, value in renamed.items()} == {
        name: i for i, name in enumerate(NAMES.values())
    }


@pytest.mark.parametrize("name", ["_blocks.16._bn2.bias", "features.0.weight"])
def test_weights_of_another_network_are_refused(name):
    with pytest.raises(ValueError, match=rf"EfficientNet-Lite0.*{name}"):
        timm_names.rename({name: np.zeros(1)})
