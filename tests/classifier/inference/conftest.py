import functools

import pytest

from classifier.inference import ensemble


@pytest.fixture(scope="module", autouse=True)
def load_once():
    """Loads each classifier of a module's ensembles once, since loading is slow."""
    with pytest.MonkeyPatch.context() as patch:
        load = functools.cache(ensemble.Classifier)
        patch.setattr(ensemble, "Classifier", load)
        yield load
