import json

import pytest
from onnx import TensorProto

from classifier.features.graph_config import read_settings
from classifier.features.opening import open_features
from tests.classifier.features.onnx_models import write


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"image_mean": "555", "image_std": [1, 1, 1]}, "image_mean: expected three"),
        ({"image_mean": [0.5] * 4, "image_std": [1] * 3}, "image_mean: expected three"),
        ({"image_mean": {"r": 1}, "image_std": [1] * 3}, "image_mean: expected three"),
        ({"image_mean": [0.5] * 3, "image_std": ["1"] * 3}, "image_std: expected thr"),
        ({"image_mean": [0.5] * 3, "image_std": [0, 1, 1]}, "pixel_stddev must be"),
        ({"image_mean": [10**400] * 3, "image_std": [1] * 3}, ""),
        ({"size": {"longest_edge": 224}}, "expected a shortest_edge, or height and"),
        ({"size": {}}, "expected a shortest_edge, or height and"),
        ({"size": {"shortest_edge": 0}}, "expected a size in pixels, got 0"),
        ({"size": -1}, "expected a size in pixels, got -1"),
        ({"size": 224, "resample": [3]}, r"expected a resample of \[2, 3\]"),
    ],
)
def test_a_preprocessor_config_that_says_nothing_is_refused(tmp_path, found, message):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match=rf"preprocessor_config\.json.*{message}"):
        read_settings(tmp_path, ())


def test_scaling_that_nothing_reads_is_refused(tmp_path):
    path = write(tmp_path / "network.onnx", dtype=TensorProto.UINT8)
    with pytest.raises(ValueError, match="--set=pixel_mean= has no effect"):
        open_features(f"onnx:{path}", ["pixel_mean=0.5,0.5,0.5"])
