"""Files of the Hugging Face Hub, from its cache or downloaded.

`HF_HUB_OFFLINE=1` uses the cache alone. The extra [hub] installs what this needs.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from typing import Any

from classifier.weights import timm
from classifier.weights.published import Weights
from stage.hub_client import REPOSITORY, import_hub
from stage.typed_json import error_message

_WEIGHTS, _CARD = "model.safetensors", "README.md"
_NEEDED = (_WEIGHTS, timm.CONFIG)


def open_repository(spec: str, repository: str) -> Weights:
    """Returns the weights of `OWNER/NAME`, or of `OWNER/NAME@REVISION`.

    Raises:
        ValueError: If it is no such name, or `huggingface_hub` is not installed.
        OSError: If the files are neither in the cache nor can be downloaded.
    """
    match = re.fullmatch(rf"({REPOSITORY})(?:@([\w./-]+))?", repository)
    if match is None:
        raise ValueError(f"{spec}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    hub = import_hub(f"{spec}:")
    name, revision = match[1], match[2] or "main"
    # The same commit for both, even if the branch moves meanwhile.
    weights = _fetch(hub, spec, name, _WEIGHTS, revision)
    commit = weights.parent.name
    _fetch(hub, spec, name, timm.CONFIG, commit)
    found = timm.open_safetensors(spec, str(weights))
    origin = {**found.origin, "revision": commit}
    if "license" not in origin and (stated := _find_license(hub, spec, name, commit)):
        origin["license"] = stated
    return dataclasses.replace(found, origin=origin)


def _fetch(hub: Any, spec: str, name: str, file: str, revision: str) -> pathlib.Path:
    """Returns the path of a file in the cache, in the folder of its commit."""
    try:
        return pathlib.Path(hub.hf_hub_download(name, file, revision=revision))
    except Exception as error:  # Of the hub, of HTTP, of the file system.
        urls = (hub.hf_hub_url(name, each, revision=revision) for each in _NEEDED)
        raise OSError(
            f"{spec}: {file} cannot be downloaded; fetch {' and '.join(urls)} into one "
            f"folder, and give safetensors:FOLDER/{_WEIGHTS} ({error_message(error)})"
        ) from error


def _find_license(hub: Any, spec: str, name: str, commit: str) -> str:
    """Returns the license that a repository's card states; "" if there is none."""
    try:
        path = _fetch(hub, spec, name, _CARD, commit)
        stated = (hub.metadata_load(path) or {}).get("license")
    except Exception:  # Not fetched, or no card: the weights are good without.
        return ""
    return stated if isinstance(stated, str) else ""
