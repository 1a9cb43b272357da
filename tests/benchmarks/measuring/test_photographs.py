import io

import numpy as np
from PIL import Image

from benchmarks.measuring import photographs
from benchmarks.measuring.photographs import make_photographs
from classifier.data.sources import open_source


def test_images_are_like_photographs():
    rng = np.random.default_rng(0)
    images = make_photographs(rng, 4, height=224, width=224)
    assert images.shape == (4, 224, 224, 3)
    assert images.dtype == np.uint8
    pixels = images.astype(int)
    # Neighbors are more alike than pixels far apart, and channels than either.
    near = np.abs(pixels[:, :, 1:] - pixels[:, :, :-1]).mean()
    far = np.abs(pixels[:, :, 20:] - pixels[:, :, :-20]).mean()
    assert 10 < near < 0.6 * far
    assert 0 < np.abs(np.diff(pixels, axis=-1)).mean() < 0.6 * far
    # Clipping is rare.
    assert np.mean((images == 0) | (images == 255)) < 0.05


def test_jpegs_are_distinct_and_like_imagenet():
    jpegs = list(photographs.make_jpegs(np.random.default_rng(0), 20))
    assert len(set(jpegs)) == len(jpegs) == 20
    # ImageNet's have 110 kB on average.
    assert 100e3 < np.mean([len(jpeg) for jpeg in jpegs]) < 120e3
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
    assert pixels.shape == (20, 375, 500, 3)
    pixels = pixels.astype(int)
    # Neighbors are more alike than pixels far apart, also across the seam of a shift.
    far = np.abs(pixels[:, :, 20:] - pixels[:, :, :-20]).mean()
    for axis in (1, 2):
        near = np.abs(np.diff(pixels, axis=axis)).mean(axis=(0, 3 - axis, 3))
        assert 5 < near.mean() < 0.6 * far
        assert near.max() < 2 * near.mean()
    # Clipping is rare.
    assert np.mean((pixels == 0) | (pixels == 255)) < 0.05


def test_records_hold_images_and_labels(tmp_path):
    for name, labels in (("labeled", [3, 0]), ("unlabeled", [None, None])):
        examples = map(photographs.make_example, [b"first", b"second"], labels)
        photographs.write_tfrecord(tmp_path / f"{name}.tfrecord", examples)
        source = open_source(f"tfrecord:{tmp_path}/{name}.tfrecord")
        (file,) = source.files
        found = [(each.image, each.label) for each in source.reader.examples(file)]
        expected = [-1 if label is None else label for label in labels]
        assert found == list(zip([b"first", b"second"], expected, strict=True))
