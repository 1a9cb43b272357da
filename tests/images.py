"""Images that tests make themselves."""

import io
import pathlib
import tarfile

import numpy as np
import tensorflow as tf
from PIL import Image

from classifier.data.readers import IMAGE_FEATURE, LABEL_FEATURE


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
    """Writes `a/00000.png` and so on; without labels all lie in one folder."""
    for index, image in enumerate(images):
        folder = root if labels is None else root / "abcdefghij"[labels[index]]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{index:05d}.png").write_bytes(image)
