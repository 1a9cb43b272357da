import dataclasses
import gc

import numpy as np
import pytest

from benchmarks.labeling import model as labeling_model
from benchmarks.labeling.task import LabelingTask
from classifier.inference.ensemble import Classifier
from tests import images


@pytest.mark.parametrize("engine", [None, "tensorflow"])
def test_a_model_gives_the_logits_of_the_export(engine, exported, monkeypatch):
    # TensorFlow's threads cannot be changed once it has run.
    monkeypatch.setattr(labeling_model, "limit_threads", lambda task: None)
    directory, _ = exported
    task = LabelingTask(
        way="stock", classifier=str(directory), records="", jpegs="", num_images=3
    )
    if engine is not None:
        task = dataclasses.replace(task, engine=engine, dtype="float32")
    jpegs = images.random_images(3)
    model = labeling_model.open_model(task)
    gc.collect()  # Would delete variables that the model does not hold.
    classifier = Classifier(directory)
    expected = classifier.logits(classifier.preprocess(jpegs))
    np.testing.assert_allclose(model(jpegs), expected, rtol=1e-4, atol=1e-5)
