import pytest

from tests import tensorflow_bucket


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket that TensorFlow's file system finds."""
    bucket = tensorflow_bucket.Bucket(tmp_path)
    tensorflow_bucket.use(bucket, monkeypatch)
    return bucket
