import re
import sys

import pytest

from stage.hub_client import NAME, REPOSITORY, import_hub


@pytest.mark.parametrize("name", ["timm/resnetrs50.tf_in1k", "a-b/c.d-e", "me/my_set"])
def test_names_of_the_hub_are_repositories(name):
    utils = pytest.importorskip("huggingface_hub.utils")
    utils.validate_repo_id(name)
    assert re.fullmatch(REPOSITORY, name)
    assert all(re.fullmatch(NAME, part) for part in name.split("/"))


@pytest.mark.parametrize(
    "name",
    ["", "birds", "a/b/c", "/etc/passwd", "../x", "a/..", "a/b.", "-a/b", "a b/c"],
)
def test_what_is_no_repository(name):
    assert re.fullmatch(REPOSITORY, name) is None


def test_the_library_prints_no_warnings():
    logging = pytest.importorskip("huggingface_hub.utils").logging
    logging.set_verbosity_warning()
    import_hub("x")
    assert logging.get_verbosity() == logging.ERROR


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"^hf:a/b: needs .*pip install .*\[hub\]"):
        import_hub("hf:a/b:")
