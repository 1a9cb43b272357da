"""What several tests share: a tiny recipe and an exported classifier."""

import dataclasses
import gc
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest

from classifier.export.facts import CLASSIFIER, Evaluation, fingerprint, read_facts
from classifier.models.config import ModelConfig
from classifier.training import presets
from classifier.training.config import OptimizerConfig
from stage import artifact
from tests.json_files import read_json

# A shell starts what runs in its background with Ctrl-C ignored; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

CLASS_NAMES = ("a", "b", "c")
#: Files that take longest. They start first: with one file at a time per process, a
#: long one started last would keep a single process busy.
LONG_FILES = (
    "tests/classifier/training/test_backends.py",
    "tests/test_end_to_end.py",
    "tests/classifier/training/test_resume.py",
    "tests/classifier/training/test_backend_jax.py",
    "tests/classifier/training/test_loop.py",
    "tests/classifier/weights/test_resnet_rs.py",
)


def pytest_collection_modifyitems(items):
    """Puts the tests of `LONG_FILES` first."""
    ranks = {path: rank for rank, path in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.nodeid.split("::")[0], len(LONG_FILES)))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collects no garbage of what is imported, which lives as long as the process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def config():
    """The tiny recipe, smaller still."""
    return dataclasses.replace(
        presets.tiny(),
        model=ModelConfig(
            name="resnet_rs_14", width_multiplier=0.0625, stochastic_depth_rate=0.1
        ),
        optimizer=OptimizerConfig(peak_learning_rate=0.1, warmup_steps=2),
        global_batch_size=4,
        num_steps=6,
        log_every=1,
        evaluate_every=3,
        checkpoint_every=2,
        shuffle_buffer=8,
    )


def rename_classes(directory, model, class_names):
    """Gives a classifier, whose network is the model, other class names."""
    path = directory / CLASSIFIER
    old = read_facts(path.parent)
    new = fingerprint(old.image, class_names, model.get_weights())
    names = {"class_names": class_names, "fingerprint": new}
    artifact.write_json(path, {**read_json(path), **names})


def export(directory, config, seed, class_names=CLASS_NAMES):
    """Writes a classifier with random weights, complete."""
    from classifier.export.saved_classifier import export_classifier
    from classifier.models.factory import build_network

    model = build_network(
        config.model,
        image_size=config.image.size,
        num_classes=len(class_names),
        seed=seed,
    )
    artifact.start_or_resume(
        directory, {"config": dataclasses.asdict(config), "seed": seed}
    )
    export_classifier(
        model,
        directory,
        image=config.image,
        class_names=class_names,
        evaluation=Evaluation(num_examples=4, num_correct=2, cross_entropy=1.0),
    )
    artifact.complete(directory, seconds=0.0)
    return directory, model


@pytest.fixture(scope="session")
def exported(tmp_path_factory, config):
    """Directory of an exported classifier of three classes, and its Keras model."""
    return export(tmp_path_factory.mktemp("classifier") / "first", config, seed=1)


@pytest.fixture(scope="session")
def exported_second(tmp_path_factory, config):
    """Another one, with other weights and another image size."""
    image = dataclasses.replace(config.image, size=40)
    other = dataclasses.replace(config, image=image)
    return export(tmp_path_factory.mktemp("classifier") / "second", other, seed=2)


@pytest.fixture
def trained(monkeypatch):
    """The runs that would be trained, without training them, so that they have no card.

    What is to be checked if images cannot be read is.
    """
    from classifier.export import model_card
    from classifier.training import trainer

    runs = []

    def train(*run, check_others=lambda: None):
        runs.append(run)
        check_others()

    monkeypatch.setattr(trainer, "train", train)
    monkeypatch.setattr(model_card, "write", lambda directory: None)
    return runs


@pytest.fixture(scope="session")
def exported_onnx(tmp_path_factory):
    """Directory of a classifier whose network is an ONNX file."""
    from classifier.features.opening import open_features
    from tests.classifier.features import onnx_models, probes

    root = tmp_path_factory.mktemp("classifier")
    source = open_features(f"onnx:{onnx_models.write(root / 'network.onnx')}")
    return probes.export(source, root / "onnx")
