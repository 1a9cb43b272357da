"""JSON files of artifacts, as tests look at them."""

from typing import Any

from stage import typed_json


def read_json(path):
    """Returns the content of a JSON file, local or in a bucket."""
    return typed_json.read(path, Any)
