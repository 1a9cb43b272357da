import dataclasses

import numpy as np
import pytest

from classifier.data import inspection, parallel
from classifier.data.sources import has_same_files, open_source
from tests.images import FORMS, open_labeled, random_images, write_records

LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
IMAGES = random_images(len(LABELS))


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def inspect(form, root, images=IMAGES, labels=LABELS, **more):
    root.mkdir()
    return inspection.inspect(open_labeled(form, root, images, labels), **more)


def test_what_is_read_stands_in_the_source(form, tmp_path):
    source = inspect(form, tmp_path / "here", for_training=True)
    read = [pair for file in source.files for pair in source.reader.examples(file)]
    assert [pair for of_file in source.labels for pair in of_file] == [
        (example.key, example.label) for example in read
    ]
    assert [len(of_file) for of_file in source.labels] == [
        file.count for file in source.files
    ]
    assert source.num_examples == len(LABELS)
    assert source.describe()["content"] == source.content
    assert inspection.inspect(source) is source


def test_the_fingerprint_is_of_content_not_of_places(form, tmp_path):
    first = inspect(form, tmp_path / "here")
    assert inspect(form, tmp_path / "there").describe() == first.describe()
    images = inspect(form, tmp_path / "images", images=IMAGES[::-1])
    assert images.content != first.content
    assert has_same_files(images.describe(), first.describe())
    if form != "folder":  # There a label is part of the name.
        labels = inspect(form, tmp_path / "labels", labels=LABELS[::-1])
        assert labels.content != first.content
        assert has_same_files(labels.describe(), first.describe())


def test_parts_keep_the_fingerprint_of_the_whole(form, tmp_path):
    source = inspect(form, tmp_path / "here")
    masks = [[label == 0 for _, label in of_file] for of_file in source.labels]
    part = source.subset([np.array(mask) for mask in masks])
    assert part.content == source.content
    assert part.num_examples == LABELS.count(0)
    assert part.describe() != source.describe()


def open_records(root, images, labels):
    write_records(root / "part", images, labels)
    (root / "names.txt").write_text("a\nb\nc\n")
    return open_source(
        f"tfrecord:{root}/part", class_names_file=str(root / "names.txt")
    )


def test_one_of_each_kind_is_named(tmp_path):
    source = open_records(tmp_path, IMAGES[:5], [0, 3, 3, -1, 3])
    with pytest.raises(ValueError, match=r"part#1: .*\b3; part#3: .*none \(and"):
        inspection.inspect(source)


def test_unreadable_images_count_unless_all_are(tmp_path):
    source = open_records(tmp_path, [b"text", IMAGES[0], b""], [0, 1, 2])
    assert inspection.inspect(source).num_examples == 3
    with pytest.raises(ValueError, match=r"part#0: .*; part#2: no bytes$"):
        inspection.inspect(source, for_training=True)
    with pytest.raises(ValueError, match="part#0: no header"):
        inspection.inspect(open_records(tmp_path, [b"text"] * 2, [0, 1]))


def test_a_file_that_changed_since_it_was_listed_is_refused(tmp_path):
    source = open_records(tmp_path, IMAGES, LABELS)
    write_records(tmp_path / "part", IMAGES[:3], LABELS[:3])
    with pytest.raises(ValueError, match=r"part#0: had .* bytes"):
        inspection.inspect(source)


def test_every_file_is_read_whatever_the_threads(tmp_path, monkeypatch):
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    for index in range(9):
        write_records(tmp_path / "in" / str(index), IMAGES[:index], LABELS[:index])
    found = []
    for count in (1, 4):
        monkeypatch.setattr(parallel, "num_cores", lambda count=count: count)
        source = open_source(
            f"tfrecord:{tmp_path}/in/*", class_names_file=f"{tmp_path}/names.txt"
        )
        found.append(inspection.inspect(source))
    assert dataclasses.replace(found[0], shards=()) == dataclasses.replace(
        found[1], shards=()
    )
    assert [file.count for file in found[1].files] == list(range(9))
