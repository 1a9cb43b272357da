import re

import pytest

from classifier.data import excerpt
from tests import tensorflow_bucket
from tests.images import blank, write_folder, write_records
from workflow.choice import images
from workflow.choice.cost import Counts


def test_images_of_folders_are_counted_and_labeled_ones_measured(tmp_path):
    write_folder(tmp_path / "labeled" / "ant", [blank(40, 100)] * 2)
    write_folder(tmp_path / "labeled" / "bee", [b"no image"])
    write_folder(tmp_path / "all", [blank(500, 500)] * 7)
    found = images.count(
        f"folder:{tmp_path}/labeled",
        f"folder:{tmp_path}/all",
        unlabeled_image_feature=None,
    )
    assert found == (Counts(labeled=3, unlabeled=7, classes=2), 40)


def test_records_in_a_bucket_are_measured_and_estimated_by_their_beginnings(
    tmp_path, monkeypatch
):
    bucket = tensorflow_bucket.use(tmp_path, monkeypatch)
    monkeypatch.setattr(excerpt, "_MAX_BYTES", 2**16)
    encoded = blank(40, 100)
    num = 1 + 2**17 // len(encoded)
    for index in range(5):
        write_records(tmp_path / f"labeled-{index}", [encoded] * num, [1] * num)
        write_records(tmp_path / f"all-{index}", [encoded] * num)
    (tmp_path / "names").write_text("ant\nbee\n")
    counts, side = images.count(
        "tfrecord:gs://bucket/labeled-*",
        "tfrecord:gs://bucket/all-*",
        unlabeled_image_feature=None,
        class_names_file=str(tmp_path / "names"),
    )
    assert (side, counts.classes) == (40, 2)
    assert counts.estimated == ("labeled", "unlabeled")
    assert counts.labeled == counts.unlabeled == pytest.approx(5 * num, rel=0.1)
    assert counts.describe("unlabeled") == f"about {counts.unlabeled:,}"
    assert counts.describe("classes") == "2"
    assert len(bucket.opened) <= 10


@pytest.mark.parametrize(("files", "number"), [(1, "0"), (65, "about 0")])
def test_unlabeled_images_that_cannot_be_read_are_refused(
    tmp_path, monkeypatch, files, number
):
    tensorflow_bucket.use(tmp_path, monkeypatch)
    write_folder(tmp_path / "labeled" / "ant", [blank(40, 100)])
    for index in range(files):
        (tmp_path / f"all-{index:02}").touch()
    spec = "tfrecord:gs://bucket/all-*"
    expected = re.escape(f"{spec}: expected images, found {number} that can be read")
    with pytest.raises(ValueError, match=expected):
        images.count(f"folder:{tmp_path}/labeled", spec, unlabeled_image_feature=None)
