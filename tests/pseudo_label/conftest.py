import shutil

import pytest

from tests import chain


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A chain with a written dataset, not to be changed."""
    run = chain.make(
        tmp_path_factory.mktemp("verify"), teachers=("aa", "bb"), dropped={1: [3]}
    )
    run.write()
    return run


@pytest.fixture
def run(written, tmp_path):
    """A copy of it, to be spoiled."""
    shutil.copytree(written.root, tmp_path / "run")
    return chain.Chain(tmp_path / "run")
