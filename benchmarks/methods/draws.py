"""Draws of a data set: where its labeled, test and unlabeled images are."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import pathlib
import shutil

from benchmarks.methods.commands import call
from classifier.data.sources import open_source

DIGITS, FOLDER = "digits", "folder:"
#: Sub-folders of a folder of pictures, and the file with the true classes of `all`, ""
#: for those of none; `examples.image_folders.writing` makes them.
SPLITS = ("labeled", "test", "all")
TRUTH = "truth.csv"
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
        ValueError: If there is no such data set, or it has labels of its own.
    """
    if not data.startswith(FOLDER):
        if data not in DEFAULT_LABELS:
            names = ", ".join(DEFAULT_LABELS)
            raise ValueError(f"--data: expected {names} or folder:DIR, got {data!r}")
        return labels_per_class or DEFAULT_LABELS[data]
    if labels_per_class is not None:
        raise ValueError("--labels_per_class: a folder has its own labels")
    path = _folder_path(data)
    for split in SPLITS:
        if not (path / split).is_dir():
            raise ValueError(f"--data={data}: expected a folder {path / split}")
    return 0


def prepare(
    data: str, directory: pathlib.Path, *, labels_per_class: int, seed: int
) -> DataDraw:
    """Returns a draw of a data set, made in `directory` unless it is there.

    The images of a folder are the same for all seeds.
    """
    if data.startswith(FOLDER):
        truth = directory / "truth" / folder_name(data)
        return _open_folders(_folder_path(data), truth)
    path = directory / f"{data}-{labels_per_class}-{seed}"
    settings = (f"--labels_per_class={labels_per_class}", f"--seed={seed}")
    log = directory / "prepare.log"
    call(f"examples.{data}.prepare", f"--output={path}", *settings, log=log)
    if data == DIGITS:
        return _open_digits(path, labels_per_class, seed)
    return _open_folders(path, directory / "truth" / path.name)


def normalize(data: str) -> str:
    """Returns the name of a data set, a folder with its absolute path."""
    return f"{FOLDER}{_folder_path(data)}" if data.startswith(FOLDER) else data


def folder_name(data: str) -> str:
    """Returns a name for files about a folder of pictures, unique for its path."""
    path = _folder_path(data)
    return f"{path.name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _folder_path(data: str) -> pathlib.Path:
    return pathlib.Path(data.removeprefix(FOLDER)).absolute()


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
    """Makes a folder for each class, with labeled and unlabeled pictures of it."""
    pairs = [(picture.parent.name, picture) for picture in path.glob("labeled/*/*")]
    pairs += _read_truth(path, {shown for shown, _ in pairs})
    unfinished = truth.with_name(f"{truth.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for number, (shown, picture) in enumerate(pairs):
        if shown:
            (unfinished / shown).mkdir(parents=True, exist_ok=True)
            # Pictures of different folders may have one name.
            shutil.copyfile(picture, unfinished / shown / f"{number}{picture.suffix}")
    unfinished.rename(truth)


def _read_truth(
    path: pathlib.Path, class_names: set[str]
) -> list[tuple[str, pathlib.Path]]:
    """Returns the class of each unlabeled picture, "" where it has none.

    Raises:
        ValueError: If a row is not the class and the name of a picture in `all`.
    """
    pictures = {picture.name: picture for picture in (path / "all").iterdir()}
    pairs = []
    with open(path / TRUTH, newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            shown, name = row.get("class"), row.get("name")
            if shown not in {*class_names, ""} or name not in pictures:
                raise ValueError(
                    f"{path / TRUTH}, line {number}: expected a name in all/, and a "
                    f"class in labeled/ or none, got name {name!r} and class {shown!r}"
                )
            pairs.append((shown, pictures[name]))
    return pairs
