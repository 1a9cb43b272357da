"""The same random bytes in TFRecords and in Parquet files, and lists of paths."""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Iterator
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import photographs

#: Images in a file, and in a row group.
FILE_ROWS, GROUP_ROWS = 10_000, 1_000
#: Files in a folder of those that a list names.
_FOLDER_FILES = 1_000
_CLASSES = 100


def _images(count: int, num_bytes: int) -> Iterator[bytes]:
    """Yields so many different images; nothing decodes them."""
    random = Random(0)
    block = random.randbytes(num_bytes)
    return (block[:-8] + index.to_bytes(8, "big") for index in range(count))


def write_both(root: pathlib.Path, count: int, num_bytes: int) -> None:
    """Writes `*.tfrecord` and `*.parquet` of the same images into a new directory."""
    root.mkdir(parents=True)
    images = enumerate(_images(count, num_bytes))
    for number, start in enumerate(range(0, count, FILE_ROWS)):
        part = list(itertools.islice(images, min(FILE_ROWS, count - start)))
        photographs.write_tfrecord(
            root / f"{number:05d}.tfrecord",
            (photographs.make_example(image) for _, image in part),
        )
        table = pa.table(
            {
                "image": [{"bytes": image, "path": None} for _, image in part],
                "label": [index % _CLASSES for index, _ in part],
            }
        )
        path = root / f"{number:05d}.parquet"
        pq.write_table(table, path, row_group_size=GROUP_ROWS)


def write_list(root: pathlib.Path, count: int) -> pathlib.Path:
    """Writes files of a byte and a CSV file that lists them; returns its path."""
    path = root / "list.csv"
    with path.open("w") as lines:
        lines.write("path,label\n")
        for index in range(count):
            folder = root / f"{index // _FOLDER_FILES:05d}"
            if index % _FOLDER_FILES == 0:
                folder.mkdir()
            name = f"{folder.name}/{index:08d}.jpg"
            with open(os.path.join(root, name), "wb") as file:
                file.write(b"x")
            lines.write(f"{name},class {index % _CLASSES}\n")
    return path
