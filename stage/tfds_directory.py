"""Opening a TFDS dataset, which may come from somebody else, without running its code.

TFDS imports the Python classes that the metadata of a dataset name. Here only the
features that TFDS itself has registered are found; nothing is imported.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core import naming

from stage import artifact, typed_json

#: Where TFDS defines its features.
FEATURES = "tensorflow_datasets.core.features."
#: Bytes that TFRecord's framing adds to a record: its length and two checksums.
FRAME_BYTES = 16
_lock = threading.Lock()


def open_builder(directory: str) -> Any:
    """Returns the builder of a prepared dataset.

    Raises:
        ValueError: If TFDS cannot read the directory, if it names a class that is no
            feature of TFDS, or files in another directory, or is too large.
    """
    artifact.check_files(directory)
    _check_sizes(epath.Path(directory).iterdir())
    with _only_own_features(directory):
        builder = tfds.builder_from_directory(directory)
        _check_files(builder)
    return builder


def find_builder(name: str, data_dir: str | None) -> Any:
    """Returns the builder of a dataset by its name, prepared in `data_dir` or not.

    Raises:
        FileNotFoundError: If there is no such dataset.
        ValueError: As `open_builder`, or if the name has a namespace, for which TFDS
            downloads code.
    """
    where = data_dir or tfds.core.constants.DATA_DIR
    unknown = FileNotFoundError(
        f"no TFDS dataset {name!r}: neither a directory, nor in {where}, nor among "
        "those TFDS knows"
    )
    try:
        parsed, _ = naming.parse_builder_name_kwargs(name)
    except ValueError as error:
        raise unknown from error
    if parsed.namespace:
        raise ValueError(
            f"expected the name or the directory of a TFDS dataset, got {name!r}, for "
            "whose namespace TFDS runs code from the network"
        )
    prepared = os.path.join(os.path.expanduser(where), str(parsed.name))
    artifact.check_files(prepared)
    local = pathlib.Path(prepared)  # Versions, or configurations with versions.
    _check_sizes([*local.glob("*/*"), *local.glob("*/*/*")])
    with _only_own_features(f"TFDS dataset {name!r} in {where}"):
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError as error:
            raise unknown from error
        _check_files(builder)
    return builder


@contextlib.contextmanager
def _only_own_features(dataset: str) -> Iterator[None]:
    """Keeps TFDS from importing modules; reports what it raises as ValueError.

    All metadata, nested and former forms included, gets its classes from one method.
    """
    connector = tfds.features.FeatureConnector
    original = vars(connector)["cls_from_name"]

    def find_class(name: str) -> type:
        found = connector._registered_features.get(name)
        if found is None or not name.startswith(FEATURES):
            raise ValueError(
                f"expected features below {FEATURES[:-1]}, got {name!r}, whose code "
                "would run; write the dataset again with features of TFDS"
            )
        return found

    with _lock:
        connector.cls_from_name = staticmethod(find_class)
        try:
            yield
        except OSError:
            raise
        except Exception as error:  # TFDS passes on whatever its parsers raise.
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            words = kind + typed_json.error_message(error)
            raise ValueError(f"{dataset} cannot be opened: {words}") from error
        finally:
            connector.cls_from_name = original


def _check_sizes(paths: Iterable[pathlib.PurePath]) -> None:
    """Raises ValueError if a file that TFDS reads as a whole is too large."""
    for path in paths:
        if path.suffix in (".json", ".txt") and epath.Path(path).exists():
            typed_json.check_size(path)


def _check_files(builder: Any) -> None:
    """Raises ValueError if the metadata names files outside the dataset's directory."""
    directory = os.path.normpath(os.fspath(builder.data_dir))
    for split in builder.info.splits.values():
        for path in map(os.fspath, split.filepaths):
            if not os.path.normpath(path).startswith(directory + os.sep):
                raise ValueError(f"expected files in {directory}, got {path}")
