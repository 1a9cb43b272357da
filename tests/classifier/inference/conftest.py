import functools
import os

import pytest

from classifier.export import saved_model
from classifier.inference import engine, ensemble


class LoadedOnce:
    """Keeps what a function loads from a directory, however the path is written."""

    def __init__(self, load):
        self._load = functools.cache(load)
        self.clear = self._load.cache_clear

    def __call__(self, path):
        return self._load(os.path.realpath(path))


@pytest.fixture(scope="module", autouse=True)
def loaders():
    """Loads each SavedModel of a module's ensembles once, since loading is slow."""
    networks = LoadedOnce(engine.NetworkLoader)
    preprocessing = LoadedOnce(saved_model.load_preprocess)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "NetworkLoader", networks)
        patch.setattr(saved_model, "load_preprocess", preprocessing)
        yield networks, preprocessing
