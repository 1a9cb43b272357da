"""The corpus that all ways write."""

import pytest

from benchmarks.writing import inputs


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A corpus of two files, the second of them nearly empty."""
    root = tmp_path_factory.mktemp("inputs") / "small"
    return inputs.make_inputs(root, inputs.SHARD_SIZE + 7, 12_000)
