import pytest

from tests import tensorflow_bucket


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket that TensorFlow's file system finds."""
    return tensorflow_bucket.use(tmp_path, monkeypatch)
