"""Writes a run file for a folder of images, by what is in it."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Iterator

from classifier.data.webdataset import IMAGE_EXTENSIONS
from stage import artifact
from stage.text import printable
from workflow.run_file.describing import write_template
from workflow.run_file.reading import RUN_FILE

#: Names of sub-folders by the setting that they are for, the usual first.
_NAMES = {
    "labeled": ("labeled", "labelled", "train", "training"),
    "evaluation": ("test", "evaluation", "eval", "val", "valid", "validation"),
    "unlabeled": ("unlabeled", "unlabelled", "all", "images"),
    "calibration": ("calibration",),
}
_HEADER = """Settings of a run, with their defaults as comments. Run it with
    noisy-student run {path}
Paths are relative to this file. A source of images is a folder, a table of paths
(csv:FILE), or tfrecord:, webdataset:, parquet:, tfds: or hf:, see docs/sources.md."""
#: Entries of a folder that are looked at.
_MAX_ENTRIES = 1000


def write(folder: str, *, force: bool) -> Iterator[str]:
    """Writes the run file of a folder; yields lines about it.

    Raises:
        ValueError: If there is a run file and it may not be replaced.
        FileNotFoundError: If there is no such folder.
    """
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {folder!r}")
    path = root / RUN_FILE
    if path.exists() and not force:
        raise ValueError(f"{path} is there already; --force replaces it")
    found = find_sources(root)
    output = f"../{root.resolve().name}-run" if "." in found.values() else "run"
    text = write_template(
        {"": {"output": output}, "data": found},
        _HEADER.format(path=shlex.quote(str(path))),
    )
    artifact.write_bytes(path, text.encode())
    for name, source in found.items():
        yield f"data.{name} = {printable(source)}"
    yield from _missing(found, path)


def find_sources(root: pathlib.Path) -> dict[str, str]:
    """Returns what the sub-folders of a folder are, by the names of settings.

    Without any of the usual names, sub-folders with images are the classes.
    """
    folders = {
        entry.name.lower(): entry.name for entry in os.scandir(root) if entry.is_dir()
    }
    found = {
        setting: folders[name]
        for setting, names in _NAMES.items()
        for name in [next((n for n in names if n in folders), None)]
        if name is not None
    }
    if "labeled" not in found and _has_classes(root):
        found = {"labeled": "."}
    return found


def _has_classes(root: pathlib.Path) -> bool:
    """Whether at least two sub-folders have images in them."""
    folders = [entry for entry in os.scandir(root) if entry.is_dir()]
    return sum(_has_images(entry.path) for entry in folders[:_MAX_ENTRIES]) >= 2


def _has_images(folder: str) -> bool:
    with os.scandir(folder) as entries:
        names = (
            entry.name for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False)
        )
        suffixes = (name.lower().rpartition(".")[2] for name in names)
        return any(suffix in IMAGE_EXTENSIONS for suffix in suffixes)


def _missing(found: dict[str, str], path: pathlib.Path) -> Iterator[str]:
    if "labeled" not in found:
        yield f"no labeled images found: give data.labeled in {path}"
    elif "evaluation" not in found:
        yield (
            "no test images found: one fifth of the labeled images is held out, unless "
            f"data.evaluation in {path} names others"
        )
    if "unlabeled" not in found:
        yield f"no unlabeled images found: give data.unlabeled in {path}"
    yield f"wrote {path}; next: noisy-student run {shlex.quote(str(path))}"
