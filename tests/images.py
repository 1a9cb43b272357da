"""Random images, and files of them in every form that a source can have."""

import csv
import io
import json
import pathlib
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from classifier.data.examples import UNLABELED, Example
from classifier.data.readers import IMAGE_FEATURE, LABEL_FEATURE
from classifier.data.sources import open_source

#: Forms of a source, see `open_labeled`.
FORMS = ("folder", "csv", "parquet", "tfrecord", "tfds", "webdataset")
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def random_pixels(rng, height=24, width=20):
    """Smooth random pixels uint8 [height,width,3]: noise would hide resampling."""
    coarse = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))


def encode(pixels, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format=kind)
    return content.getvalue()


def random_images(count, seed=0):
    rng = np.random.default_rng(seed)
    return [encode(random_pixels(rng)) for _ in range(count)]


def blank(width, height):
    """An encoded black image of this size."""
    return encode(np.zeros((height, width, 3), np.uint8))


def colored_images(count, seed):
    """Images of three classes, whose colors tell them apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = [index % 3 for index in range(count)]
    images = []
    for label in labels:
        pixels = Image.fromarray(random_pixels(rng))
        tint = Image.new("RGB", pixels.size, COLORS[label])
        images.append(encode(np.asarray(Image.blend(pixels, tint, 0.4))))
    return images, labels


def to_examples(images):
    """What a reader makes of unlabeled images."""
    return [Example(b"%d" % i, image, UNLABELED) for i, image in enumerate(images)]


def make_example(image, label=None):
    """A serialized `tf.train.Example`."""
    feature = {IMAGE_FEATURE: tf.train.Feature(bytes_list={"value": [image]})}
    if label is not None:
        feature[LABEL_FEATURE] = tf.train.Feature(int64_list={"value": [label]})
    features = tf.train.Features(feature=feature)
    return tf.train.Example(features=features).SerializeToString()


def write_records(path: pathlib.Path, images, labels=None, compression=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [None] * len(images) if labels is None else labels
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for image, label in zip(images, labels, strict=True):
            writer.write(make_example(image, label))


def write_tar(path: pathlib.Path, members, mode="w"):
    """Writes a tar file of (name, content) pairs."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))


def write_folder(root: pathlib.Path, images, labels=None):
    """Writes `a/00000.png` and so on; without labels into one folder."""
    for index, image in enumerate(images):
        folder = root if labels is None else root / "abcdefghij"[labels[index]]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:05d}.png").write_bytes(image)


def write_labeled_tar(path: pathlib.Path, images, labels):
    """Writes a WebDataset tar file: `0.png`, `0.cls`, `1.png` and so on."""
    members = [
        (f"{index}.{extension}", content)
        for index, (image, label) in enumerate(zip(images, labels, strict=True))
        for extension, content in (("png", image), ("cls", b"%d" % label))
    ]
    write_tar(path, members)


def write_parquet(path: pathlib.Path, images, labels=None, *, names=(), group=2):
    """Writes a Parquet file as Hugging Face's libraries do.

    Args:
        path: Path of the file.
        images: Encoded images, None for a null.
        labels: Labels, which are numbers or texts; no such column without them.
        names: Names of the classes, for the metadata.
        group: Number of rows of a row group.
    """
    structs = [image if image is None else {"bytes": image} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(structs, kind)}
    if labels is not None:
        columns["label"] = pa.array(labels)
    label = {"names": list(names), "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, **({"label": label} if names else {})}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns).replace_schema_metadata(metadata)
    with path.open("wb") as file:  # Of any bytes in its name.
        pq.write_table(table, file, row_group_size=group)


def write_csv(path: pathlib.Path, rows, columns=("path", "label")):
    """Writes a CSV file of rows under a line of columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", errors="surrogateescape") as file:
        csv.writer(file).writerows([columns, *rows])


def write_tfds(
    directory: pathlib.Path, pictures, values, labels=("class",), license=None
):
    """Writes a prepared TFDS dataset `NAME/1.0.0` of shards of four examples.

    Args:
        directory: Path `.../NAME/1.0.0` to create.
        pictures: Encoded images by the name of their feature.
        values: Class of each example, in 0..2.
        labels: Names of the features that hold the class.
        license: License in the metadata.
    """
    directory.mkdir(parents=True)
    kinds = {
        "id": tfds.features.Text(),
        **{name: tfds.features.Image(shape=(None, None, 3)) for name in pictures},
        **{name: tfds.features.ClassLabel(names=["a", "b", "c"]) for name in labels},
    }
    identity = tfds.core.DatasetIdentity(
        name=directory.parent.name,
        version="1.0.0",
        data_dir=directory,
        module_name="",
    )
    features = tfds.features.FeaturesDict(kinds)
    writer = tfds.core.SequentialWriter(
        tfds.core.DatasetInfo(builder=identity, features=features, license=license),
        max_examples_per_shard=4,
        overwrite=False,
    )
    writer.initialize_splits(["train"])
    examples = [
        {
            "id": str(index),
            **{name: io.BytesIO(images[index]) for name, images in pictures.items()},
            **dict.fromkeys(labels, value),
        }
        for index, value in enumerate(values)
    ]
    writer.add_examples({"train": examples})
    writer.close_all()
    return directory


def open_labeled(form, root: pathlib.Path, images, labels):
    """Returns a source of labeled images, in any of `FORMS`.

    Except for a folder and a list, the images are in two or more files.
    """
    if form == "folder":
        write_folder(root / "images", images, labels)
        return open_source(f"folder:{root}/images")
    if form == "csv":
        write_folder(root / "images", images)
        names = [
            (f"images/{i:05d}.png", "abc"[label]) for i, label in enumerate(labels)
        ]
        write_csv(root / "list.csv", names)
        return open_source(f"csv:{root}/list.csv")
    if form == "parquet":
        for part, rows in enumerate((slice(6), slice(6, None))):
            path = root / f"{part}.parquet"
            write_parquet(path, images[rows], labels[rows], names="abc")
        return open_source(f"parquet:{root}/?.parquet")
    if form == "tfds":
        directory = write_tfds(root / "shapes" / "1.0.0", {"image": images}, labels)
        return open_source(f"tfds:{directory}:train[:2]+train[2:]")
    names = root / "names.txt"
    names.write_text("a\nb\nc\n")
    write = write_records if form == "tfrecord" else write_labeled_tar
    write(root / "0", images[:6], labels[:6])
    write(root / "1", images[6:], labels[6:])
    return open_source(f"{form}:{root}/?", class_names_file=str(names))
