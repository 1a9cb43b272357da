"""Calls of gcloud, answered by the stand-in."""

import pytest

from infra.tpu import gcloud


@pytest.mark.parametrize(
    ("address", "is_there"),
    [
        ("gs://b/birds", True),
        ("gs://b/birds/", True),
        ("gs://b/birds/*.jpg", True),
        ("gs://b/birds/*.png", False),
        ("gs://b/names.txt", True),
        ("gs://b/names.txt/", False),
        ("gs://b/bird", False),
        ("gs://b", True),
    ],
)
def test_files_are_found_by_one_name(cloud, address, is_there):
    cloud.tell(data=["gs://b/names.txt", *[f"gs://b/birds/{n}.jpg" for n in range(9)]])
    assert gcloud.is_there(address) == is_there
    (asked,) = cloud.calls
    assert "--limit=1" in asked
