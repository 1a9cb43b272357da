"""The beginning of a source in a bucket, copied to this machine.

What leaves the cloud is billed by the byte. To know how many images there are, and how
large, a part of them is enough.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

from etils import epath

from classifier.data import opening, streams
from classifier.data.examples import File, name_hash
from classifier.data.opening import FileError
from classifier.data.readers import ParquetReader
from classifier.data.sources import Shard, Source
from stage.system import read_in_parallel

#: Bytes to copy. TensorFlow's client of Google's storage fetches blocks of 64 MiB,
#: fewer if the file ends; Beam's fetches 16 MiB. To read one to its end would fetch the
#: next.
_MAX_BYTES = 63 * 2**20
#: Files whose sizes are asked for, a request each; all have their mean size.
_MAX_FILES = 64


@dataclasses.dataclass(frozen=True)
class Excerpt:
    """A part of a source that is on this machine.

    Attributes:
        part: The images in it, of which the last one of a file may be cut off.
        share: Bytes of the part, as a share of those of the source: 1 for all of them.
    """

    part: Source
    share: float


@contextlib.contextmanager
def take(source: Source) -> Iterator[Excerpt]:
    """Makes a part of a source available while the block runs.

    Of a source in a bucket at most 64 MiB are fetched: files in the order of a hash of
    their names, or the beginning of one; of Parquet files rows are read from there.
    Others are their own excerpt.

    Raises OSError if a transient error persists.
    """
    not_empty = [file for file in source.files if file.size]
    if not any("://" in file.path for file in not_empty):
        yield Excerpt(source, 1.0)
        return
    if isinstance(source.reader, ParquetReader):
        yield _take_rows(source)
        return
    listed = sorted(not_empty, key=name_hash)[:_MAX_FILES]
    sizes = read_in_parallel(_size, listed)
    chosen = listed[_choose(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [pathlib.Path(folder, str(index)) for index in range(len(chosen))]
        copied = sum(read_in_parallel(_copy, zip(chosen, paths, strict=True)))
        files = tuple(
            # Any records of its files are like those of a part of them.
            dataclasses.replace(
                file, path=str(path), size=-1, mtime_ns=-1, skip=0, take=-1
            )
            for file, path in zip(chosen, paths, strict=True)
        )
        part = dataclasses.replace(source, shards=(Shard(0, files),), labels=())
        looked_at = len(listed) / len(not_empty)
        total = sum(sizes) / looked_at
        # Without a byte it is not known whether other files have some.
        yield Excerpt(part, copied / total if total else looked_at)


def _take_rows(source: Source) -> Excerpt:
    """Returns rows that are left where they are: the beginning of a file has no footer.

    They are of one run of row groups, and have about the bytes of an excerpt at most.
    """
    runs = sorted((file for file in source.files if file.take > 0), key=name_hash)
    if not runs:
        return Excerpt(source, 1.0)
    run = runs[0]
    of_file = sum(file.take for file in runs if file.path == run.path)
    fitting = int(of_file * _MAX_BYTES / max(_size(run), 1))
    rows = min(run.take, max(fitting, 1))
    part = dataclasses.replace(run, take=rows, to_end=False)
    total = sum(file.take for file in runs)
    shards = (Shard(0, (part,)),)
    return Excerpt(dataclasses.replace(source, shards=shards, labels=()), rows / total)


def _choose(sizes: Sequence[int]) -> slice:
    """Returns which files to copy: the first ones, or the first that does not fit.

    It alone is copied if those in front of it are less than half of an excerpt: a small
    file, of the last few images or of no images at all, may be unlike all others.
    """
    ends = list(itertools.accumulate(sizes, initial=0))
    fitting = bisect.bisect_right(ends, _MAX_BYTES) - 1
    if fitting < len(sizes) and ends[fitting] < _MAX_BYTES / 2:
        return slice(fitting, fitting + 1)
    return slice(fitting)


def _copy(pair: tuple[File, pathlib.Path]) -> int:
    """Copies the beginning of a file to a path; returns its size.

    The copy of a file that cannot be read is empty.
    """
    file, path = pair
    content = b""
    try:
        with opening.open_file(file) as stream:
            content = streams.read_up_to(stream, _MAX_BYTES)
    except (OSError, FileError) as error:
        opening.status_of(error)  # Raises those that may pass.
    path.write_bytes(content)
    return len(content)


def _size(file: File) -> int:
    """Returns the size of a file in bytes, 0 if it is gone."""
    if file.size >= 0:
        return file.size
    try:
        return int(epath.Path(file.path).stat().length)
    except FileNotFoundError:
        return 0
