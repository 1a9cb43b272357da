import hashlib

import numpy as np
import pytest

from classifier.data import inspection
from classifier.data.config import ImageConfig
from classifier.data.sources import open_source
from classifier.export.head import Head
from classifier.features.source import Extractor
from classifier.probing.embeddings import check_classes, embed, evaluate
from tests.classifier.probing.embeddings_of_classes import label
from tests.images import random_images, write_folder

EXTRACTOR = Extractor(
    ImageConfig(size=32), lambda pixels: pixels.mean(axis=(1, 2)).astype(np.float32)
)


def test_each_image_is_embedded_once(tmp_path):
    images = random_images(70)
    labels = [index % 3 for index in range(70)]
    write_folder(tmp_path, images, labels)
    source = inspection.inspect(open_source(f"folder:{tmp_path}"), for_training=True)
    found = embed(source, EXTRACTOR)
    assert found.embeddings.shape == (70, 3)
    for index, (image, number) in enumerate(zip(images, labels, strict=True)):
        row = list(found.keys).index(f"{'abc'[number]}/{index:05d}.png")
        assert found.labels[row] == number
        assert found.digests[row] == hashlib.sha256(image).hexdigest()
        expected = EXTRACTOR(EXTRACTOR.preprocess([image]))[0]
        np.testing.assert_allclose(found.embeddings[row], expected, rtol=1e-5)


def test_what_cannot_be_embedded_is_named(tmp_path):
    images = random_images(3)
    write_folder(tmp_path, [images[0], images[1], images[2][:-40]], [0, 1, 1])
    source = open_source(f"folder:{tmp_path}")
    with pytest.raises(ValueError, match=r"b/00002\.png"):
        embed(source, EXTRACTOR)
    write_folder(tmp_path, images, [0, 1, 1])
    source = open_source(f"folder:{tmp_path}")
    infinite = Extractor(
        EXTRACTOR.image, lambda pixels: np.full((len(pixels), 2), np.inf, np.float32)
    )
    with pytest.raises(ValueError, match=r"a/00000\.png: .*not finite"):
        embed(source, infinite)


def test_figures_are_those_of_the_heads_logits():
    head = Head(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    images = label(np.array([[2, 0], [0, 1], [3, 0]], np.float32), [0, 1, 1])
    found = evaluate(head, images)
    assert (found.num_examples, found.num_correct) == (3, 2)
    expected = np.mean(np.log1p(np.exp([-2, -1, 3])))
    assert found.cross_entropy == pytest.approx(expected)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([0, 2, 0], "of each class, got none of 'b'"),
        ([0, 1, 2, 3], r"labels from 0 to 2, got 3 \(1 of 4 images\)"),
        ([-1, 1, 2], "labels from 0 to 2, got -1"),
    ],
)
def test_labels_are_those_of_the_classes(labels, reason):
    with pytest.raises(ValueError, match=f"^photos: expected .*{reason}"):
        check_classes(np.array(labels), ("a", "b", "c"), "photos")
    check_classes(np.array([2, 1, 0]), ("a", "b", "c"), "photos")
