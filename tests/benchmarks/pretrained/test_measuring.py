import tensorflow as tf

from benchmarks.pretrained import measuring


def write_records(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for key, label in records:
            example = tf.train.Example()
            example.features.feature["key"].bytes_list.value.append(key)
            example.features.feature["label"].int64_list.value.append(label)
            writer.write(example.SerializeToString())


def test_copies_of_an_image_count_once(tmp_path):
    name = "pseudo_labels-train.tfrecord-0000{}-of-00002"
    write_records(tmp_path / name.format(0), [(b"a.jpg", 1), (b"b.jpg", 0)])
    write_records(tmp_path / name.format(1), [(b"a.jpg", 1)])
    assert measuring._read_labels(tmp_path) == {"a.jpg": 1, "b.jpg": 0}


def test_true_classes_are_read(tmp_path):
    (tmp_path / "truth.csv").write_text("name,class\r\na.jpg,cat\r\nb.jpg,fox\r\n")
    assert measuring._read_truth(tmp_path) == {"a.jpg": "cat", "b.jpg": "fox"}
