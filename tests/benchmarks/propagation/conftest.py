"""Made-up images with features, in several files of several blocks."""

import pytest

from benchmarks.measuring import predictions
from benchmarks.propagation import inputs
from benchmarks.propagation.inputs import FeatureSpace

SPACE = FeatureSpace(features=16, classes=4, labeled=60, seed=3)
IMAGES, SHARD_ROWS, BLOCK_ROWS = 700, 300, 128


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "SHARD_ROWS", SHARD_ROWS)
        patch.setattr(predictions, "BLOCK_ROWS", BLOCK_ROWS)
        root = tmp_path_factory.mktemp("propagation")
        return inputs.open_inputs(root, SPACE, images=IMAGES)
