"""Whatever is spoiled in the records of a dataset, verification names it."""

import json
import re

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from pseudo_label.dataset import records as dataset_records
from pseudo_label.dataset import verify_records
from pseudo_label.dataset.verify_selection import Count
from tests import chain
from tests.faults import forms
from tests.pseudo_label.dataset.spoiling import (
    change_json,
    change_records,
    check_refused,
    first_file,
    replace,
    set_length,
    verify,
)


def test_everything_is_counted(written):
    counts = {count.what: count for count in verify(written)}
    for count in counts.values():
        assert count.expected in (None, count.found)
    info = json.loads((written.dataset / "dataset_info.json").read_text())
    lengths = [int(n) for n in info["splits"][0]["shardLengths"]]
    assert counts["records read"].found == counts["records"].found == sum(lengths)
    assert counts["read"].found == 24
    assert counts["duplicate"].found == 1
    assert counts["no prediction"].found == 3
    assert counts["files of records"].found == 6
    assert counts[verify_records.REPEATED] == Count(verify_records.REPEATED, None, 0)


def test_images_of_every_form_are_read(tmp_path):
    found = chain.make(tmp_path, images=list(forms.READ.values()), images_per_class=99)
    found.write()
    counts = {count.what: count.found for count in verify(found)}
    assert counts["images in them"] > len(forms.READ) / 2


def test_an_image_that_cannot_be_read_as_the_card_shows_is_named(tmp_path):
    translucent = forms.REFUSED["WebP: alpha, lossless"][0]
    found = chain.make(tmp_path, images=[translucent] * 24)
    found.write()
    check_refused(found, r"part-\d\d#\d", "cannot be decoded")


def test_copies_in_the_same_file_are_counted(tmp_path):
    found = chain.make(tmp_path, images_per_class=40, max_copies=9)
    found.write(num_shards=2)
    keys = []
    for path in sorted(found.dataset.glob("*tfrecord*")):
        spec = dataset_records.parsing_spec(top_k=chain.TOP_K)
        records = [
            tf.io.parse_single_example(content, spec)
            for content in tf.data.TFRecordDataset(str(path))
        ]
        of_file = [record["key"].numpy() for record in records]
        keys += [key for key in set(of_file) if of_file.count(key) > 1]
    assert verify(found)[-1] == Count(verify_records.REPEATED, None, len(set(keys)))
    assert keys


#: By field: how to replace its value, and what the message must have.
FIELDS = {
    "image": ("bytes_list", b"another", [r"\b[0-9a-f]{12}\b"]),
    "label": ("int64_list", 77, [r"label \d\b", "label 77"]),
    "confidence": ("float_list", 0.125, [r"confidence 0\.\d+", r"confidence 0\.125"]),
    "top_labels": ("int64_list", 77, [r"top_labels \[.*\]", r"top_labels \[77"]),
    "top_probabilities": (
        "float_list",
        0.125,
        [r"top_probabilities \[.*\]", r"top_probabilities \[0\.125"],
    ),
    "key": ("bytes_list", b"another", ["key part-", "key another"]),
    "source": ("bytes_list", b"shard-00077", ["shard-00077"]),
    "row": ("int64_list", 77, [r"row 77\b", "shard-"]),
    "teacher": ("bytes_list", b"aa", [r"teacher \w{64}", r"teacher aa\b"]),
    "round": ("int64_list", 2, ["round 1", "round 2"]),
    "copy": ("int64_list", 7, ["copy 7"]),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_record_with_another_value(run, name):
    kind, value, patterns = FIELDS[name]
    change_records(first_file(run), replace(name, kind, value))
    check_refused(run, f"{first_file(run)}: ", *patterns)


def test_every_field_is_spoiled_above():
    assert set(FIELDS) == set(dataset_records.FIELDS)


def test_a_record_that_occurs_twice(run):
    change_records(first_file(run), lambda examples: [*examples, examples[0]])
    check_refused(run, f"{first_file(run)}", r"part-\d+#\d+, copy \d", "file 1")


def test_a_record_that_is_missing(run):
    change_records(first_file(run), lambda examples: examples[1:])
    check_refused(run, "00001-of-00006", "dataset_info.json")
    set_length(run, 1, -1)
    check_refused(run, r"part-\d+#\d+, copy \d")


def test_a_record_without_a_feature(run):
    def change(examples):
        del examples[0].features.feature["confidence"]
        return examples

    change_records(first_file(run), change)
    check_refused(run, f"{first_file(run)}", "confidence")


def test_a_file_that_is_cut_off(run):
    path = first_file(run)
    path.write_bytes(path.read_bytes()[:-5])
    check_refused(run, f"{path}", "truncated record")  # TensorFlow's reason.


def test_a_file_with_a_flipped_bit(run):
    path = first_file(run)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    check_refused(run, f"{path}", "corrupted record")  # TensorFlow's reason.


def test_a_file_that_is_missing(run):
    first_file(run).unlink()
    check_refused(run, "tfrecord-00001-of-00006")


def test_a_file_of_an_older_dataset(run):
    (run.dataset / dataset_records.shard_name(0, 7)).touch()
    check_refused(run, "tfrecord-00000-of-00007")


def test_metadata_with_other_counts(run):
    set_length(run, 2, 1)
    check_refused(run, "00002-of-00006", "dataset_info.json")
    set_length(run, 2, -1)

    def change(info):
        info["splits"][0]["numBytes"] = "7"

    change_json(run.dataset / "dataset_info.json", change)
    check_refused(run, "dataset_info.json", r"\b7\b")
    (run.dataset / "dataset_info.json").write_text("{")
    check_refused(run, f"{run.dataset}")


def test_other_class_names(run):
    (run.dataset / "label.labels.txt").write_text("ant\nbee\ncow\n")
    check_refused(run, r"label\.labels\.txt")


def test_other_features(run):
    features = dataset_records.features(chain.CLASS_NAMES, top_k=chain.TOP_K)
    features = tfds.features.FeaturesDict(
        {name: value for name, value in features.items() if name != "round"}
    )
    features.save_config(str(run.dataset))
    check_refused(run, r"features\.json")


def set_field(name, value, *within):
    def change(content):
        for outer in within:
            content = content[outer]
        content[name] = value

    return lambda path: change_json(path, change)


def spoil_text(path):
    path.write_text(path.read_text().replace("e", "3", 1))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("README.md", spoil_text),
        ("README.md", lambda path: path.unlink()),
        ("features.json", set_field("description", "another")),
        ("label.labels.txt", lambda path: path.unlink()),
        ("dataset_info.json", set_field("citation", "me")),
        ("COMPLETED", lambda path: path.write_text("done")),
        ("config.json", set_field("max_copies", 9, "settings")),
        ("config.json", set_field("record_version", "2")),
    ],
)
def test_a_file_beside_the_records_that_was_changed(run, name, spoil):
    spoil(run.dataset / name)
    check_refused(run, re.escape(name))


def test_a_dataset_of_an_earlier_version_names_no_pairs(run):
    change_json(run.dataset / "dataset_info.json", lambda c: c.pop("supervisedKeys"))
    # The size in COMPLETED is that of the file with them.
    size = (run.dataset / "dataset_info.json").stat().st_size
    change_json(
        run.dataset / "COMPLETED",
        lambda c: c["files"].update({"dataset_info.json": size}),
    )
    assert verify(run)


def test_absurd_numbers_of_files_are_refused_at_once(run):
    change_json(run.dataset / "config.json", lambda c: c.update(num_shards=2**40))
    check_refused(run, "files of records", f"{2**40:,}")


@pytest.mark.parametrize("path", ["", "x" * 5_000, "a\0b"])
def test_inputs_that_are_no_paths_are_refused(run, path):
    change_json(run.dataset / "inputs.json", lambda c: c.update(predictions=path))
    check_refused(run, "inputs.json")
