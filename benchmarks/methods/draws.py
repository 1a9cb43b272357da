"""Draws of a data set: where its labeled, test and unlabeled images are."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from benchmarks.methods.commands import call
from classifier.data import python_reader, sampling
from classifier.data.examples import File
from classifier.data.listing import list_folder
from classifier.data.sources import open_source
from stage import artifact

DIGITS, FOLDER = "digits", "folder:"
#: Sub-folders of a folder of pictures, and the file with the true classes of `all`, ""
#: for those of none; `examples.image_folders.writing` makes them.
SPLITS = ("labeled", "test", "all")
TRUTH = "truth.csv"
_COLUMNS = ("name", "class")
#: Labels per class of a data set, if not given.
DEFAULT_LABELS = {DIGITS: 5, "surfaces": 20, "shapes": 25}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataDraw:
    """The sources of a draw, see `classifier.data.sources.open_source`.

    Attributes:
        labeled: Labeled images.
        evaluation: Images to test on.
        images: Unlabeled images.
        truth: Labeled images, and unlabeled ones with their true labels; None if these
            are not known.
        num_images: Number of unlabeled images.
        exclude: Sources whose images must be neither selected nor learned from without
            their labels.
        duplicate_bits: Value of the flag of `beam_jobs.select_labels`.
        class_names: K names by label.
        data_dir: Directory of TFDS datasets; None for folders.
    """

    labeled: str
    evaluation: str
    images: str
    truth: str | None
    num_images: int
    exclude: tuple[str, ...]
    duplicate_bits: int
    class_names: tuple[str, ...]
    data_dir: str | None = None

    def count(self, spec: str) -> int:
        """Returns the number of images of a source whose number is in its description.

        Folders and TFDS datasets have it, records do not.
        """
        return open_source(spec, data_dir=self.data_dir).num_examples


def find_labels(data: str, labels_per_class: int | None) -> int:
    """Returns the number of labels of each class; 0 for a folder, whose they are.

    Raises:
        ValueError: If there is no such data set, it has labels of its own, or its true
            classes are not those of its pictures.
        OSError: If a folder cannot be read.
    """
    if not data.startswith(FOLDER):
        if data not in DEFAULT_LABELS:
            names = ", ".join(DEFAULT_LABELS)
            raise ValueError(f"--data: expected {names} or folder:DIR, got {data!r}")
        return labels_per_class or DEFAULT_LABELS[data]
    if labels_per_class is not None:
        raise ValueError("--labels_per_class: a folder has its own labels")
    path = pathlib.Path(data.removeprefix(FOLDER))
    for split in SPLITS:
        if not (path / split).is_dir():
            raise ValueError(f"--data={data}: expected a folder {path / split}")
        open_source(f"folder:{path / split}")
    if (path / TRUTH).exists():
        _read_truth(path)
    return 0


def prepare(
    data: str, directory: pathlib.Path, *, labels_per_class: int, seed: int
) -> DataDraw:
    """Returns a draw of a data set, made in `directory` unless it is there.

    `data` is what `identify` returns. The images of a folder are the same for all
    seeds.
    """
    if data.startswith(FOLDER):
        path, _ = _split(data)
        return _open_folders(path, directory / "truth" / folder_name(data))
    path = directory / f"{data}-{labels_per_class}-{seed}"
    settings = (f"--labels_per_class={labels_per_class}", f"--seed={seed}")
    log = directory / "prepare.log"
    command = "workflow.digits" if data == DIGITS else f"examples.{data}.prepare"
    call(command, f"--output={path}", *settings, log=log)
    if data == DIGITS:
        return _open_digits(path, labels_per_class, seed)
    return _open_folders(path, directory / "truth" / path.name)


def identify(data: str) -> str:
    """Returns what results call a data set: one name for one content.

    That of a folder is `folder:PATH#FINGERPRINT`, of names and bytes of its files.
    """
    if not data.startswith(FOLDER):
        return data
    path = pathlib.Path(data.removeprefix(FOLDER)).absolute()
    files = [pathlib.Path(f.path) for s in SPLITS for f in list_folder(str(path / s))]
    files += [path / TRUTH] if (path / TRUTH).exists() else []
    fingerprint = artifact.fingerprint(
        part
        for file in files
        for part in (os.fsencode(file.relative_to(path)), file.read_bytes())
    )
    return f"{FOLDER}{path}#{fingerprint[:12]}"


def folder_name(data: str) -> str:
    """Returns a name for files about an identified folder, unique for its content."""
    path, fingerprint = _split(data)
    return f"{path.name}-{fingerprint}"


def _split(data: str) -> tuple[pathlib.Path, str]:
    path, _, fingerprint = data.removeprefix(FOLDER).rpartition("#")
    return pathlib.Path(path), fingerprint


def _open_digits(path: pathlib.Path, labels_per_class: int, seed: int) -> DataDraw:
    name = f"tfds:digits/labels{labels_per_class}_seed{seed}"
    data_dir = str(path)
    unlabeled = open_source(f"{name}:unlabeled", data_dir=data_dir)
    return DataDraw(
        labeled=f"{name}:labeled",
        evaluation=f"{name}:test",
        images=f"tfrecord:{path}/unlabeled/*.tfrecord",
        truth=f"{name}:labeled+unlabeled",
        num_images=unlabeled.num_examples,
        exclude=(f"{name}:labeled+test",),
        # Different scans of 8x8 pixels can have the same hash.
        duplicate_bits=-1,
        class_names=unlabeled.labeled_class_names(),
        data_dir=data_dir,
    )


def _open_folders(path: pathlib.Path, truth: pathlib.Path) -> DataDraw:
    labeled, evaluation, images = (
        f"folder:{path / split}" for split in ("labeled", "test", "all")
    )
    has_truth = (path / TRUTH).exists()
    if has_truth and not truth.exists():
        _copy_truth(path, truth)
    return DataDraw(
        labeled=labeled,
        evaluation=evaluation,
        images=images,
        truth=f"folder:{truth}" if has_truth else None,
        num_images=open_source(images).num_examples,
        exclude=(evaluation, labeled),
        duplicate_bits=0,
        class_names=open_source(labeled).labeled_class_names(),
    )


def _copy_truth(path: pathlib.Path, truth: pathlib.Path) -> None:
    """Makes a folder for each class, with labeled and unlabeled pictures of it.

    What cannot be decoded is left out, as it is by labeling.
    """
    unfinished = truth.with_name(f"{truth.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for number, (shown, picture) in enumerate(_read_truth(path)):
        if shown and not sampling.why_unusable(python_reader.read_image(picture)):
            (unfinished / shown).mkdir(parents=True, exist_ok=True)
            # Pictures of different folders may have one name.
            copy = f"{number}{pathlib.Path(picture.name).suffix}"
            shutil.copyfile(picture.path, unfinished / shown / copy)
    unfinished.rename(truth)


def _read_truth(path: pathlib.Path) -> list[tuple[str, File]]:
    """Returns labeled and unlabeled pictures with their classes, "" for none.

    Raises:
        ValueError: If the file of true classes has not one row for each unlabeled
            picture, with its name and one of the classes of the labeled ones.
    """
    labeled = open_source(f"folder:{path / 'labeled'}")
    class_names = labeled.labeled_class_names()
    pairs = [(class_names[picture.label], picture) for picture in labeled.files]
    left = {picture.name: picture for picture in list_folder(str(path / "all"))}
    for number, row in enumerate(_read_rows(path / TRUTH), start=2):
        name, shown = (row[column] for column in _COLUMNS)
        if shown not in {*class_names, ""} or name not in left:
            raise ValueError(
                f"{path / TRUTH}, line {number}: expected a name in all/ that no other "
                "line has, and a class in labeled/ or none, got name "
                f"{name!r} and class {shown!r}"
            )
        pairs.append((shown, left.pop(name)))
    if left:
        raise ValueError(
            f"{path / TRUTH}: expected a line for each file in all/, got none for "
            f"{len(left):,} of them, such as {min(left)!r}"
        )
    return pairs


def _read_rows(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a CSV file; ValueError if it lacks one of the columns."""
    try:
        text = path.read_text("utf-8-sig")  # Spreadsheets write a byte order mark.
        rows = csv.DictReader(io.StringIO(text))
        names = rows.fieldnames or ()
        if not set(_COLUMNS) <= set(names):
            raise ValueError(
                f"expected the columns {' and '.join(_COLUMNS)}, got {', '.join(names)}"
            )
        yield from rows
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
