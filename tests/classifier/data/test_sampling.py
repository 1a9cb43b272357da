"""A sample holds what TensorFlow reads and decodes, and nothing else."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from classifier.data import parallel, preprocessing, sampling
from classifier.data.examples import Example, File, name_hash
from classifier.data.readers import read_files
from classifier.data.sources import Shard, Source, open_source
from tests.images import (
    FORMS,
    make_example,
    open_labeled,
    random_images,
    write_folder,
    write_records,
    write_tar,
)

IMAGES = random_images(10)
LABELS = [i % 3 for i in range(10)]
#: Damage that only decoding finds.
BROKEN = IMAGES[3][:-40]


def contents(sample):
    """Encoded images by their number in the sample, as tf.data reads them."""
    source = sample.source
    examples = list(read_files(source.reader, source.files).as_numpy_iterator())
    assert [int(e["index"]) for e in examples] == list(range(len(examples)))
    assert len(examples) == sample.num_images == source.num_examples
    return [e["image"] for e in examples]


@pytest.mark.parametrize("form", FORMS)
def test_the_whole_source_is_the_sample_if_it_may_be(form, tmp_path):
    source = open_labeled(form, tmp_path, IMAGES, LABELS)
    sample = sampling.draw(source, 10)
    assert (sample.num_skipped, sample.reason) == (0, "")
    plain = read_files(source.reader, source.files).as_numpy_iterator()
    assert contents(sample) == [e["image"] for e in plain]


@pytest.mark.parametrize("form", FORMS)
def test_a_smaller_sample_is_drawn_by_names_alone(form, tmp_path):
    source = open_labeled(form, tmp_path, IMAGES, LABELS)
    drawn = [set(contents(sampling.draw(source, count))) for count in (3, 7, 7)]
    assert list(map(len, drawn)) == [3, 7, 7]
    assert drawn[0] < drawn[1] == drawn[2]
    backwards = dataclasses.replace(source, shards=source.shards[::-1])
    assert set(contents(sampling.draw(backwards, 7))) == drawn[1]


def test_images_of_a_folder_are_drawn_at_random(tmp_path):
    images = random_images(200)
    write_folder(tmp_path, images)
    found = contents(sampling.draw(open_source(f"folder:{tmp_path}"), 100))
    places = np.array(sorted(map(images.index, found)))
    assert 80 < places.mean() < 120
    assert (np.diff(places) > 1).sum() > 25


def test_what_cannot_be_decoded_is_skipped(tmp_path):
    images = [*IMAGES[:2], b"no image", *IMAGES[2:5], BROKEN, b"", *IMAGES[5:]]
    for form in ("folder", "tfrecord", "webdataset"):
        root = tmp_path / form
        root.mkdir()
        if form == "folder":
            write_folder(root, images)
        elif form == "tfrecord":
            write_records(root / "a", images[:7])
            write_records(root / "b", images[7:])
        else:
            names = [(f"{i}.png", image) for i, image in enumerate(images)]
            write_tar(root / "a", names[:7])
            write_tar(root / "b", names[7:])
        spec = f"{form}:{root}" + ("" if form == "folder" else "/*")
        sample = sampling.draw(open_source(spec), 100)
        assert contents(sample) == IMAGES
        assert sample.num_skipped == 3
        assert "2" in sample.reason.partition(":")[0]


def test_a_record_without_an_image_costs_no_other(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "a")) as writer:
        for image in IMAGES[:5]:
            writer.write(make_example(image))
            writer.write(b"no example")
    sample = sampling.draw(open_source(f"tfrecord:{tmp_path}/a"), 100)
    assert contents(sample) == IMAGES[:5]
    assert (sample.num_skipped, sample.unread) == (5, ())
    assert sample.reason.startswith("a#1: ")


@pytest.mark.parametrize("label", [None, b"cat"])
def test_labels_of_a_dataset_are_not_needed(tmp_path, label):
    source = open_labeled("tfds", tmp_path, IMAGES, LABELS)
    path = source.files[-1].path
    examples = [
        tf.train.Example.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(path)
    ]
    feature = examples[1].features.feature
    del feature[source.reader.label_feature]
    if label is not None:
        feature[source.reader.label_feature].bytes_list.value.append(label)
    with tf.io.TFRecordWriter(path) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    sample = sampling.draw(open_source(source.spec), 100)
    assert contents(sample) == IMAGES
    assert sample.num_skipped == 0


def test_a_sample_in_a_tar_file_without_an_image_costs_no_other(tmp_path):
    members = [(f"{i}.png", image) for i, image in enumerate(IMAGES)]
    write_tar(tmp_path / "a", [*members[:4], ("text.txt", b"no image"), *members[4:]])
    sample = sampling.draw(open_source(f"webdataset:{tmp_path}/a"), 100)
    assert contents(sample) == IMAGES
    assert (sample.num_skipped, sample.unread) == (1, ())


def test_a_source_without_a_usable_image_is_given_up(tmp_path, monkeypatch):
    """As after a wrong name of the feature, before all is read."""
    monkeypatch.setattr(sampling, "_MAX_IN_VAIN", 20)
    monkeypatch.setattr(parallel, "num_cores", lambda: 1)
    for index in range(9):
        write_records(tmp_path / str(index), IMAGES)
    source = open_source(f"tfrecord:{tmp_path}/*", image_feature="other")
    with pytest.raises(ValueError, match=r"\b20 cannot be used\b.*'other'"):
        sampling.draw(source, 1000)


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_records_count_up_to_the_first_that_cannot_be_read(tmp_path, compression):
    path = tmp_path / "a"
    first = [b"", *IMAGES[:4]] if compression else IMAGES[:5]
    write_records(path, first, compression=compression)
    write_records(tmp_path / "b", IMAGES[5:])
    path.write_bytes(path.read_bytes()[:-200])
    sample = sampling.draw(open_source(f"tfrecord:{tmp_path}/*"), 100)
    # TensorFlow reads nothing of a compressed file that ends early.
    first = [] if compression else IMAGES[:4]
    assert contents(sample) == [*first, *IMAGES[5:]]
    assert (sample.num_skipped, sample.reason) == (0, "")
    (unread,) = sample.unread
    assert unread.startswith("a: " if compression else "a#4: ")


def test_compression_is_found_by_content(tmp_path):
    write_records(tmp_path / "a", IMAGES, compression="GZIP")
    assert (
        contents(sampling.draw(open_source(f"tfrecord:{tmp_path}/a"), 4))
        == (IMAGES[:4])
    )


def test_the_description_covers_what_was_read(tmp_path):
    write_records(tmp_path / "a", IMAGES)
    source = open_source(f"tfrecord:{tmp_path}/a")
    descriptions = [sampling.draw(source, n).source.describe() for n in (4, 4, 5)]
    assert descriptions[0] == descriptions[1] != descriptions[2]
    write_records(tmp_path / "a", [*IMAGES[:3], IMAGES[0], *IMAGES[4:]])
    assert (
        sampling.draw(open_source(source.spec), 4).source.describe()
        != (descriptions[0])
    )


@pytest.mark.parametrize("form", FORMS)
def test_excluded_images_are_not_drawn(form, tmp_path):
    """Whatever the form they are excluded in: their bytes decide."""
    (tmp_path / "all").mkdir()
    source = open_labeled(form, tmp_path / "all", IMAGES, LABELS)
    write_folder(tmp_path / "some", [IMAGES[2]])
    write_records(tmp_path / "other", [IMAGES[7], IMAGES[9], random_images(11)[10]])
    specs = (f"folder:{tmp_path}/some", f"tfrecord:{tmp_path}/other")
    excluded = sampling.read_excluded(map(open_source, specs))
    left = {image for i, image in enumerate(IMAGES) if i not in (2, 7, 9)}
    sample = sampling.draw(source, 10, excluded=excluded)
    assert set(contents(sample)) == left
    assert (sample.num_excluded, sample.num_skipped) == (3, 0)
    assert len(set(contents(sampling.draw(source, 5, excluded=excluded)))) == 5
    assert len(excluded.sources) == 2
    write_folder(tmp_path / "some", [IMAGES[3]])  # In place of the first.
    again = sampling.read_excluded(map(open_source, specs))
    assert again.sources[0] != excluded.sources[0]
    assert again.sources[1] == excluded.sources[1]


def test_images_to_exclude_that_cannot_be_read_are_refused(tmp_path):
    path = tmp_path / "a"
    write_records(path, IMAGES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=f"tfrecord:{path}.*cannot exclude"):
        sampling.read_excluded([open_source(f"tfrecord:{path}")])


def test_what_excludes_nothing_is_refused(tmp_path):
    write_records(tmp_path / "a", IMAGES)
    source = open_source(f"tfrecord:{tmp_path}/a", image_feature="other")
    with pytest.raises(ValueError, match="tfrecord:"):
        sampling.read_excluded([source])


@pytest.mark.parametrize(
    ("num_files", "shards", "count"),
    [(3, 2, 21), (3, 2, 39), (5, 2, 63), (8, 8, 30), (9, 4, 97), (7, 3, 1000)],
)
def test_input_shards_get_about_as_many_images(tmp_path, num_files, shards, count):
    """As of whole files: at most twice as many as another."""
    for index in range(num_files):
        write_records(tmp_path / str(index), IMAGES[:1] * 20)
    source = open_source(f"tfrecord:{tmp_path}/*")
    sample = sampling.draw(source, count, input_shards=shards)
    assert count - shards < sample.num_images <= count or count > num_files * 20
    contents(sample)
    sizes = [sample.source.part(i, shards).num_examples for i in range(shards)]
    assert sum(sizes) == sample.num_images
    assert max(sizes) <= 2 * min(sizes)


@pytest.mark.parametrize("sizes", [[40, 1, 40, 1], [1, 1, 40, 40], [9, 40, 9, 1]])
def test_input_shards_get_about_as_many_images_of_unequal_files(tmp_path, sizes):
    """As of whole files: no two differ by more than the largest."""
    for ordered in set(itertools.permutations(sizes)):  # In any order of drawing.
        for name, size in zip("abcd", ordered, strict=True):
            write_records(tmp_path / name, IMAGES[:1] * size)
        source = open_source(f"tfrecord:{tmp_path}/*")
        parts = sampling.draw(source, 1000, input_shards=2).source
        counts = [parts.part(i, 2).num_examples for i in range(2)]
        assert sum(counts) == sum(sizes)
        assert abs(counts[0] - counts[1]) <= max(sizes)


def test_records_behind_the_last_one_drawn_are_not_read(tmp_path, monkeypatch):
    write_records(tmp_path / "a", [BROKEN, *IMAGES * 3])
    decoded = []
    decode = preprocessing.decode
    monkeypatch.setattr(
        preprocessing, "decode", lambda image: decoded.append(image) or decode(image)
    )
    sample = sampling.draw(open_source(f"tfrecord:{tmp_path}/a"), 4)
    assert decoded == [BROKEN, *IMAGES[:4]]
    assert [len(file.kept) for file in sample.source.files] == [5]
    assert contents(sample) == IMAGES[:4]


class LongReader:
    """Gives one image of the file first drawn, and of others many that are none."""

    def __init__(self, first):
        self.first = first
        self.ended = []

    def examples(self, file):
        if file == self.first:
            yield Example(b"image", IMAGES[0], -1)
            return
        for _ in range(300_000):
            yield Example(b"nothing", b"", -1)
        self.ended.append(file)


def test_files_that_were_read_ahead_are_given_up(monkeypatch):
    monkeypatch.setattr(parallel, "num_cores", lambda: 2)
    files = tuple(File(path=name, name=name) for name in "abc")
    reader = LongReader(min(files, key=name_hash))
    source = Source("", (Shard(0, files),), None, reader)
    sample = sampling.draw(source, 1)
    assert [file.name for file in sample.source.files] == [reader.first.name]
    assert not reader.ended


def test_a_source_without_a_usable_image_is_refused(tmp_path):
    write_folder(tmp_path, [b"text", b""])
    with pytest.raises(ValueError, match=r"folder:.*00000\.png"):
        sampling.draw(open_source(f"folder:{tmp_path}"), 10)
