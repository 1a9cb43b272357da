"""Weights of the Hugging Face Hub, from a cache that the test writes: no network."""

import builtins
import json
import re

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants

from classifier.weights import opening
from stage import licenses
from tests.classifier.weights import timm_networks

COMMIT, OTHER = "1" * 40, "2" * 40
CONFIG = {"architecture": "resnetrs50", "pretrained_cfg": {"crop_pct": 0.91}}


@pytest.fixture(scope="module")
def content():
    return safetensors.numpy.save(timm_networks.weights(50))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the cache; the hub itself cannot be reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def fill(cache, commit, files, *, branch=None):
    """Writes a repository as the hub's library keeps it."""
    folder = cache / "models--timm--resnetrs50.tf_in1k"
    snapshot = folder / "snapshots" / commit
    for path in (folder / "blobs", folder / "refs", snapshot):
        path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        blob = folder / "blobs" / f"{commit}-{name}"
        blob.write_bytes(content)
        (snapshot / name).symlink_to(blob)
    if branch:
        (folder / "refs" / branch).write_text(commit)


def test_weights_come_from_the_cache_with_their_commit(cache, content):
    files = {"model.safetensors": content, "config.json": json.dumps(CONFIG).encode()}
    fill(cache, COMMIT, files, branch="main")
    fill(cache, OTHER, {**files, "config.json": b"{}"}, branch="v2")
    found = opening.open_weights("hf:timm/resnetrs50.tf_in1k")
    assert found.model.name == "resnet_rs_50"
    assert found.image.crop_fraction == 0.91
    assert found.origin["spec"] == "hf:timm/resnetrs50.tf_in1k"
    assert found.origin["file"] == "model.safetensors"
    assert found.origin["revision"] == COMMIT
    assert len(found.origin["sha256"]) == 64
    bias = timm_networks.weights(50)["fc.bias"]
    np.testing.assert_array_equal(found.arrays["logits/bias"], bias)
    for revision in ("v2", OTHER):
        found = opening.open_weights(f"hf:timm/resnetrs50.tf_in1k@{revision}")
        assert found.origin["revision"] == OTHER
        assert found.image.crop_fraction == 0.875


@pytest.mark.parametrize(
    ("card", "license"),
    [
        (b"---\nlicense: apache-2.0\ntags: [a]\n---\n# Card\n", "apache-2.0"),
        (b"---\ntags: [a]\n---\n", None),
        (b"---\nlicense: [a, b]\n---\n", None),
        (b"---\nlicense: !!python/name:os.system\n---\n", None),
        (b"# Card\n", None),
        (None, None),
    ],
)
def test_the_license_is_that_of_the_card(cache, content, card, license):
    files = {"model.safetensors": content, "config.json": json.dumps(CONFIG).encode()}
    more = {} if card is None else {"README.md": card}
    fill(cache, COMMIT, {**files, **more}, branch="main")
    found = opening.open_weights("hf:timm/resnetrs50.tf_in1k")
    assert found.origin.get("license") == license
    (origin,) = licenses.trace(found.spec, found.origin)
    assert origin.license == license or (license, origin.license) == (None, "unknown")
    # It may be found, or lost, between two starts of the same command.
    assert "license" not in licenses.describe(found.origin)


def test_a_license_beside_the_weights_comes_first(cache, content):
    config = {**CONFIG, "pretrained_cfg": {"license": "cc-by-nc-4.0"}}
    files = {"model.safetensors": content, "config.json": json.dumps(config).encode()}
    fill(
        cache,
        COMMIT,
        {**files, "README.md": b"---\nlicense: mit\n---\n"},
        branch="main",
    )
    found = opening.open_weights("hf:timm/resnetrs50.tf_in1k")
    assert found.origin["license"] == "cc-by-nc-4.0"


@pytest.mark.parametrize(
    ("files", "missing"),
    [({}, "model.safetensors"), ({"model.safetensors": b""}, "config.json")],
)
def test_what_is_not_in_the_cache_says_where_to_fetch_it(cache, files, missing):
    fill(cache, COMMIT, files, branch="main")
    with pytest.raises(OSError) as error:
        opening.open_weights("hf:timm/resnetrs50.tf_in1k")
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith("hf:timm/resnetrs50.tf_in1k: ")
    url = f"https://huggingface.co/timm/resnetrs50.tf_in1k/resolve/[0-9a-z]+/{missing}"
    assert re.search(url, message)
    assert "safetensors:FOLDER/model.safetensors" in message


@pytest.mark.parametrize("name", ["resnet", "a/b/c", "../x", "a/b@", "/etc/passwd"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="expected hf:OWNER/NAME"):
        opening.open_weights(f"hf:{name}")


def test_without_its_package_the_hub_says_what_to_install(monkeypatch):
    load = builtins.__import__

    def refuse(name, *arguments, **how):
        if name == "huggingface_hub":
            raise ImportError(name)
        return load(name, *arguments, **how)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r"pip install .*'\.\[hub\]'"):
        opening.open_weights("hf:timm/resnetrs50.tf_in1k")
