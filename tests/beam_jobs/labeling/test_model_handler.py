"""Labeling with a model handler, and errors of a handler."""

import subprocess
import sys

import numpy as np
import pytest
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from beam_jobs.labeling.model_handler import HandlerPredictor, ModelHandlerLoader
from classifier.inference.ensemble import BATCH_SIZE
from tests.images import random_images, to_examples
from workflow.chain import process

SIZE = 32
CLASSES = 3


class Fixed(ModelHandler):
    """Returns the same logits for each image; records the batches."""

    def __init__(self, rows=lambda count: np.zeros((count, CLASSES))):
        super().__init__()
        self._rows = rows
        self.batches = []

    def load_model(self):
        return "model"

    def run_inference(self, batch, model, inference_args=None):
        assert model == "model"
        self.batches.append(list(batch))
        return self._rows(len(batch))


def make_fixed():
    return Fixed()


NOT_A_HANDLER = dict


@pytest.fixture(scope="module")
def images():
    return random_images(5)


def probabilities(predictor, images):
    predicted = predictor.predict(predictor.decode(to_examples(images)))
    assert predicted.status == ["ok"] * len(images)
    return predicted.probabilities


def test_a_batch_is_always_full_and_holds_decodable_images_only(images):
    handler = Fixed()
    predictor = HandlerPredictor(handler, num_classes=CLASSES)
    decoded = predictor.decode(to_examples([b"", images[0], b"text", images[1]]))
    predicted = predictor.predict(decoded)
    assert predicted.status == ["empty", "ok", "undecodable", "ok"]
    (batch,) = handler.batches
    assert len(batch) == BATCH_SIZE
    assert set(batch) == {images[0], images[1]}
    assert predictor.predict(predictor.decode(to_examples([b""]))).status == ["empty"]
    assert len(handler.batches) == 1


def test_prediction_results_of_beam_are_accepted(images):
    handler = Fixed(lambda n: [PredictionResult(b"", np.arange(CLASSES))] * n)
    found = probabilities(HandlerPredictor(handler, num_classes=CLASSES), images)
    assert (found.argmax(axis=1) == CLASSES - 1).all()


def test_what_is_not_finite_is_a_row_with_a_reason(images):
    def rows(count):
        logits = np.zeros((count, CLASSES))
        logits[1, 0], logits[2, 1] = np.nan, np.inf
        return logits

    predictor = HandlerPredictor(Fixed(rows), num_classes=CLASSES)
    predicted = predictor.predict(predictor.decode(to_examples(images)))
    assert predicted.status == ["ok", "not_finite", "not_finite", "ok", "ok"]
    assert not predicted.probabilities[[1, 2]].any()


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (lambda n: np.zeros((n, 4)), r"64 .*\(4,\)"),
        (lambda n: np.zeros((n - 1, CLASSES)), r"63 .*\(3,\)"),
        (lambda n: [], " 0 "),
    ],
)
def test_other_classes_or_fewer_rows_are_refused(rows, found, images):
    predictor = HandlerPredictor(Fixed(rows), num_classes=CLASSES)
    with pytest.raises(ValueError, match=rf" 64 .* 3 .*{found}"):
        predictor.predict(predictor.decode(to_examples(images)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module:handler", "no_such_module"),
        (f"{__name__}:nothing", "nothing"),
        (f"{__name__}:NOT_A_HANDLER", "ModelHandler.* dict"),
        ("words", "words"),
    ],
)
def test_a_name_without_a_handler_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        ModelHandlerLoader(spec=spec, num_classes=CLASSES).fingerprint()


def test_another_file_is_another_model(tmp_path):
    path = tmp_path / "model"
    path.write_bytes(b"1")
    loader = ModelHandlerLoader(spec=f"{__name__}:accept:{path}", num_classes=CLASSES)
    before = loader.fingerprint()
    assert before == loader.fingerprint()
    path.write_bytes(b"2")
    assert before != loader.fingerprint()


def accept(path):
    return Fixed()


def test_a_module_of_the_working_directory_is_found_last(tmp_path):
    for name in ("my_handler", "csv"):
        (tmp_path / f"{name}.py").write_text(
            "from tests.beam_jobs.labeling.test_model_handler import make_fixed\n"
        )
    program = (
        "import sys\n"
        "from beam_jobs.labeling.model_handler import ModelHandlerLoader\n"
        "for name in ('my_handler', 'csv'):\n"
        "    try:\n"
        "        spec = f'{name}:make_fixed'\n"
        "        ModelHandlerLoader(spec=spec, num_classes=3).handler()\n"
        "        print(name, 'found')\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=process.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    found, missing = ended.stdout.splitlines()
    assert found == "my_handler found"
    assert "AttributeError: module 'csv' has no attribute 'make_fixed'" in missing
