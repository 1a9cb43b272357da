"""Writes a run file for a folder of images, by what is in it."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Iterator, Sequence

from classifier.data import listing
from classifier.data.webdataset import IMAGE_EXTENSIONS
from stage import artifact
from stage.text import and_more, printable
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
    root = root if root.name not in ("", "..") else root.resolve()
    found, output, path = find_sources(root), "run", root / RUN_FILE
    if "." in found.values():
        # Whatever is in a folder of classes is read with the images.
        path = root.parent / f"{root.name}.toml"
        found, output = {"labeled": root.name}, f"{root.name}-run"
    if path.exists() and not force:
        raise ValueError(f"{path} is there already; --force replaces it")
    text = write_template(
        {"": {"output": output}, "data": found},
        _HEADER.format(path=_typed(path)),
    )
    artifact.write_bytes(path, text.encode())
    for name, source in found.items():
        yield f"data.{name} = {printable(source)}"
        yield from describe_files(path.parent / source, has_labels=name != "unlabeled")
    yield from _missing(found, path)


def describe_files(folder: pathlib.Path, *, has_labels: bool) -> Iterator[str]:
    """Yields how many files of a folder are images, by their names, and the others."""
    names = [file.name for file in listing.list_folder(str(folder))]
    placed = [name for name in names if not has_labels or name.count("/") == 1]
    astray = [name for name in names if has_labels and name.count("/") != 1]
    others = [name for name in placed if not _is_image(name)]
    classes = {name.partition("/")[0] for name in placed}
    count = f"  images: {len(placed) - len(others):,}"
    yield f"{count}; classes: {len(classes):,}" if has_labels else count
    if astray:
        yield (
            f"  in no sub-folder of a class, or deeper: {_list_first(astray)}; delete "
            "or move what is no labeled image, as training refuses it"
        )
    if others:
        ends = "training refuses" if has_labels else "labeling passes over"
        yield f"  no image by its name: {_list_first(others)}; {ends} what is none"


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


def _is_image(name: str) -> bool:
    return name.lower().rpartition(".")[2] in IMAGE_EXTENSIONS


def _list_first(names: Sequence[str]) -> str:
    return f"{printable(names[0])}{and_more(names)}"


def _has_images(folder: str) -> bool:
    with os.scandir(folder) as entries:
        names = (
            entry.name for _, entry in zip(range(_MAX_ENTRIES), entries, strict=False)
        )
        return any(map(_is_image, names))


def _typed(path: pathlib.Path) -> str:
    """Returns a path as it is typed in a shell, where a leading dash begins a flag."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def _missing(found: dict[str, str], path: pathlib.Path) -> Iterator[str]:
    if "labeled" not in found:
        yield f"no labeled images found: give data.labeled in {path}"
    elif "evaluation" not in found:
        yield (
            "no test images found: a fifth of the labeled images of each class is held "
            f"out, at least one, unless data.evaluation in {path} names others"
        )
    if "unlabeled" not in found:
        yield f"no unlabeled images found: give data.unlabeled in {path}"
    yield f"wrote {path}; next: noisy-student run {_typed(path)}"
