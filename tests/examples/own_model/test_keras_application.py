"""The example labels like the network itself; see docs/own_model.md."""

import keras
import numpy as np
import tensorflow as tf

from beam_jobs.labeling.model_handler import HandlerPredictor
from examples.own_model import keras_application
from tests.images import random_images, to_examples

SIZE = 32
CLASSES = 3
IMAGES = random_images(5)


def test_a_keras_application_labels_as_it_predicts(tmp_path):
    network = keras.applications.MobileNetV3Small(
        input_shape=(SIZE, SIZE, 3),
        weights=None,
        classes=CLASSES,
        classifier_activation=None,
        alpha=0.35,
    )
    network.save(tmp_path / "network.keras")
    handler = keras_application.KerasHandler(str(tmp_path / "network.keras"))
    pixels = [
        tf.image.resize(tf.io.decode_png(image, channels=3), (SIZE, SIZE))
        for image in IMAGES
    ]
    logits = network.predict(np.stack(pixels), verbose=0)
    predictor = HandlerPredictor(handler, num_classes=CLASSES)
    predicted = predictor.predict(predictor.decode(to_examples(IMAGES)))
    assert predicted.status == ["ok"] * len(IMAGES)
    np.testing.assert_allclose(
        predicted.probabilities, tf.nn.softmax(logits), atol=1e-6
    )
