"""Whatever is spoiled in a dataset, its recount names it."""

import json
import re
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from pseudo_label.dataset import records as dataset_records
from pseudo_label.dataset import verify_records, verify_selection
from pseudo_label.dataset.verify_selection import Count
from tests import chain, commands


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    found = chain.make(
        tmp_path_factory.mktemp("verify"), teachers=("aa", "bb"), dropped={1: [3]}
    )
    found.write()
    return found


@pytest.fixture
def run(made, tmp_path):
    """A copy of it, to be spoiled."""
    shutil.copytree(made.root, tmp_path / "run")
    return chain.Chain(tmp_path / "run")


def verify(run, **more):
    opened = verify_selection.open_chain(str(run.dataset), **more)
    kept, counts = verify_selection.count_predictions(opened)
    return counts + verify_records.count_records(opened, kept)


def refused(run, words):
    with pytest.raises((ValueError, FileNotFoundError)) as refusal:
        verify(run)
    assert re.search(words, str(refusal.value)), refusal.value


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_records(path, change):
    """Rewrites a file of records with what `change` makes of the list of them."""
    examples = [
        tf.train.Example.FromString(content.numpy())
        for content in tf.data.TFRecordDataset(str(path))
    ]
    assert len(examples) > 1
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in change(examples):
            writer.write(example.SerializeToString())


def first_file(run):
    return run.dataset / dataset_records.shard_name(1, 6)


def test_everything_is_counted(made):
    counts = {count.what: count for count in verify(made)}
    for count in counts.values():
        assert count.expected in (None, count.found)
    info = json.loads((made.dataset / "dataset_info.json").read_text())
    lengths = [int(n) for n in info["splits"][0]["shardLengths"]]
    assert counts["records read"].found == counts["records"].found == sum(lengths)
    assert counts["read"].found == 24
    assert counts["duplicate"].found == 1
    assert counts["undecodable"].found == 3
    assert counts["files of records"].found == 6
    assert counts[verify_records.TOGETHER] == Count(verify_records.TOGETHER, None, 0)


def test_copies_that_share_a_file_are_told(tmp_path):
    found = chain.make(tmp_path, images_per_class=40, max_copies=9)
    found.write(num_shards=2)
    keys = []
    for path in sorted(found.dataset.glob("*tfrecord*")):
        spec = dataset_records.parsing_spec(top_k=chain.TOP_K)
        records = [tf.io.parse_single_example(one, spec) for one in read(path)]
        of_file = [one["key"].numpy() for one in records]
        keys += [key for key in set(of_file) if of_file.count(key) > 1]
    assert verify(found)[-1] == Count(verify_records.TOGETHER, None, len(set(keys)))
    assert keys


def read(path):
    return tf.data.TFRecordDataset(str(path))


def replace(name, kind, value):
    """Returns what gives the second record of a file another value."""

    def change(examples):
        values = getattr(examples[1].features.feature[name], kind).value
        values[0] = value
        return examples

    return change


FIELDS = {
    "image": ("bytes_list", b"another", r"expected an image of SHA-256 \w{12}, got an"),
    "label": ("int64_list", 77, r"expected label \d, got label 77"),
    "confidence": ("float_list", 0.125, r"expected confidence 0\.\d+, got .* 0\.125"),
    "top_labels": ("int64_list", 77, r"expected top_labels \[.*\], got .*\[77"),
    "top_probabilities": ("float_list", 0.125, r"expected top_prob.*, got .*\[0\.125"),
    "key": ("bytes_list", b"another", r"another: expected key part-.*, got key ano"),
    "source": ("bytes_list", b"shard-00077", r"of shard-00077, which was not selected"),
    "row": ("int64_list", 77, r"is of row 77 of shard-.*, which was not selected"),
    "teacher": ("bytes_list", b"aa", r"expected teacher \w{64}, got teacher aa"),
    "round": ("int64_list", 2, r"expected round 1, got round 2"),
    "copy": ("int64_list", 7, r"is copy 7, expected \d copies"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_record_that_says_something_else(run, name):
    kind, value, words = FIELDS[name]
    change_records(first_file(run), replace(name, kind, value))
    refused(run, f"{first_file(run)}: .*{words}")


def test_every_field_is_spoiled_above():
    assert set(FIELDS) == set(dataset_records.FIELDS)


def test_a_record_that_is_there_twice(run):
    change_records(first_file(run), lambda examples: [*examples, examples[0]])
    refused(run, r"part-\d+#\d+, copy \d, is there twice, first in file 1")


def set_length(run, index, difference):
    def change(info):
        lengths = info["splits"][0]["shardLengths"]
        lengths[index] = str(int(lengths[index]) + difference)

    change_json(run.dataset / "dataset_info.json", change)


def test_a_record_that_is_missing(run):
    change_records(first_file(run), lambda examples: examples[1:])
    refused(run, r"00001-of-00006: dataset_info.json says (\d), found \d")
    set_length(run, 1, -1)
    refused(run, r"part-\d+#\d+, copy \d, is in no file")


def test_a_record_without_a_feature(run):
    def change(examples):
        del examples[0].features.feature["confidence"]
        return examples

    change_records(first_file(run), change)
    refused(run, f"{first_file(run)} cannot be read: .*confidence")


def test_a_file_that_is_cut_off(run):
    path = first_file(run)
    path.write_bytes(path.read_bytes()[:-5])
    refused(run, f"{path} cannot be read: truncated record")


def test_a_file_with_a_flipped_bit(run):
    path = first_file(run)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    refused(run, f"{path} cannot be read: corrupted record")


def test_a_file_that_is_missing(run):
    first_file(run).unlink()
    refused(run, "tfrecord-00001-of-00006 is missing")


def test_a_file_of_an_older_dataset(run):
    (run.dataset / dataset_records.shard_name(0, 7)).touch()
    refused(run, "tfrecord-00000-of-00007 is none of the 6 files")


def test_metadata_that_says_something_else(run):
    set_length(run, 2, 1)
    refused(run, r"00002-of-00006: dataset_info.json says \d, found \d")
    set_length(run, 2, -1)

    def change(info):
        info["splits"][0]["numBytes"] = "7"

    change_json(run.dataset / "dataset_info.json", change)
    refused(run, r"bytes of records: dataset_info.json says 7, found [\d,]+")
    (run.dataset / "dataset_info.json").write_text("{")
    refused(run, "TFDS cannot open .*/dataset")


def test_class_names_that_are_others(run):
    (run.dataset / "label.labels.txt").write_text("ant\nbee\ncow\n")
    refused(run, "expected the 3 classes of the selection, got 3 others")


def change_column(path, name, change):
    table = pq.read_table(path)
    index = table.schema.get_field_index(name)
    field = table.schema.field(index)
    values = pa.array(change(table[name].to_pylist()), field.type)
    pq.write_table(table.set_column(index, field, [values]), path)


def predictions_file(run, index=0):
    return run.root / "predictions" / f"predictions-{index:05d}.parquet"


def test_predictions_that_say_something_else(run):
    def change(hashes):
        return [bytes(32) for _ in hashes]

    change_column(predictions_file(run), "image_sha256", change)
    refused(run, "expected an image of SHA-256 000000000000, got")


def test_predictions_that_were_another_decision(run):
    def change(values):
        return [None, *[0.9999] * (len(values) - 1)]

    change_column(predictions_file(run), "confidence", change)
    refused(run, r"class .*: \w+: the selection says \d+, found \d+")


def test_a_row_that_is_missing_from_the_predictions(run):
    path = predictions_file(run)
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)  # The one that has no prediction.
    refused(run, "read: the selection says 24, found 23")


def test_dropped_rows_that_are_others(run):
    path = run.root / "selection" / "dropped" / "predictions-00001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.filter(pc.equal(table["record_index"], -1)), path)
    refused(run, r"the selection says \d+, found \d+")


def test_another_selection(run):
    change_json(run.root / "selection" / "selection.json", lambda s: s["funnel"])
    refused(run, r"was made with another selection: expected \w{12}, got \w{12}")


def test_other_predictions(run):
    path = run.root / "predictions" / "config.json"
    change_json(path, lambda config: config.update(top_k=1))
    refused(run, r"was made with another predictions?: expected")


@pytest.mark.parametrize("name", ["dataset", "predictions", "selection"])
def test_what_is_not_complete(run, name):
    (run.root / name / "COMPLETED").unlink()
    refused(run, f"{name}: .*{name} is not complete")
    shutil.rmtree(run.root / name)
    refused(run, f"{name}: no directory '.*{name}'")


def test_inputs_that_were_moved(run):
    for name in ("predictions", "selection"):
        (run.root / name).rename(run.root / f"old-{name}")
    refused(run, "predictions: no directory")
    moved = {
        name: str(run.root / f"old-{name}") for name in ("predictions", "selection")
    }
    assert verify(run, **moved)


def test_the_command(made, run):
    change_records(first_file(run), replace("round", "int64_list", 2))
    module = "pseudo_label.verify"
    processes = [
        commands.start(module, *arguments)
        for arguments in ([made.dataset], [run.dataset], [], [made.root])
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 1, 1, 1], outputs
    whole, spoiled, nothing, other = outputs
    assert whole.splitlines()[0].split() == ["expected", "found"]
    assert whole.splitlines()[-1] == "ok"
    assert re.fullmatch(r"error: .*expected round 1, got round 2\n", spoiled)
    assert nothing == "error: expected one directory of a dataset, got ''\n"
    assert re.fullmatch(r"error: dataset: .* is not complete \(.*\)\n", other)
