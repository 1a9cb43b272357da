import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.writing import inputs
from classifier.data.readers import read_files
from classifier.data.sources import open_source
from pseudo_label.predictions import prediction_set
from pseudo_label.selection.decision import open_selection


def test_images_are_different_photographs_of_one_size(made):
    source = open_source(made.flags()["images"])
    examples = list(read_files(source.reader, source.files).as_numpy_iterator())
    images = [example["image"] for example in examples]
    assert len(set(images)) == len(images) == 1007
    assert {len(image) for image in images} == {12_000}
    for image in (images[0], images[-1]):
        assert tf.io.decode_image(image).shape == (96, 128, 3)
        assert Image.open(io.BytesIO(image)).format == "JPEG"


def test_an_image_cannot_be_made_smaller():
    (jpeg,) = inputs.make_jpegs(np.random.default_rng(0), 1)
    assert len(inputs.pad(jpeg, 3, len(jpeg) + 8)) == len(jpeg) + 8
    with pytest.raises(ValueError, match=f"{len(jpeg) + 8:,}"):
        inputs.pad(jpeg, 3, len(jpeg) + 7)


def test_nearly_all_images_are_selected(made):
    predictions = prediction_set.open_predictions(made.flags()["predictions"])
    funnel = open_selection(made.flags()["selection"], predictions).funnel
    assert funnel.read == predictions.num_images == 1007
    assert 0.6 * 1007 < funnel.unique_kept < funnel.read
    assert funnel.records >= funnel.unique_kept
