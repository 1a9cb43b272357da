"""The frozen list of a job's shards: `shards.parquet`, a row for every file.

The first run writes it; later runs must find the same files, so that a shard number
means the same images for as long as the output is there. Workers look their shard up
in it, so that a job's graph carries numbers only, however many files there are.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath

from classifier.data.examples import File
from classifier.data.readers import FolderReader
from classifier.data.sources import Shard, Source, chunked
from stage import artifact, parquet

MANIFEST = "shards.parquet"
#: Rows that a worker reads to find its shard.
_GROUP_ROWS = 10_000
_SCHEMA = pa.schema(
    [
        ("shard", pa.int64()),
        ("path", pa.binary()),  # Paths and names need not be UTF-8.
        ("name", pa.binary()),
        ("skip", pa.int64()),
        ("take", pa.int64()),
        ("label", pa.int64()),
        ("size", pa.int64()),
    ]
)


def match_predictions(source: Source, directory: str) -> Source:
    """Returns the images that predictions were made of, as they were frozen.

    Args:
        source: As it is listed now.
        directory: Of the predictions.

    Raises:
        ValueError: If they were made of others.
    """
    source = match(source, directory, allow_new_shards=False)
    expected = artifact.read_json(epath.Path(directory) / artifact.CONFIG)["images"]
    if expected != source.describe():
        raise ValueError(
            f"{source.spec} is not what {directory} was made of: expected {expected}, "
            f"got {source.describe()}"
        )
    return source


def match(source: Source, output: epath.PathLike, *, allow_new_shards: bool) -> Source:
    """Returns the source as the first run of a job has frozen it; writes nothing.

    Paths and labels are those of now, numbers and order of shards those of then.

    Args:
        source: As it is listed now.
        output: Directory of the job.
        allow_new_shards: Whether files may be new: they become shards behind the old.

    Raises:
        ValueError: If a file has gone or changed, or is new and may not be.
    """
    if not _path(output).exists():
        return source
    now = {(file.name, file.skip): file for file in source.files}
    frozen: list[Shard] = []
    gone: list[str] = []
    changed: list[str] = []
    for shard in _read_all(output):
        files = []
        for then in shard.files:
            file = now.pop((then.name, then.skip), None)
            if file is None:
                gone.append(f"{then.name} has gone")
            elif difference := _difference(then, file):
                changed.append(f"{then.name} {difference}")
            else:
                files.append(file)
        frozen.append(Shard(shard.index, tuple(files)))
    new = [file for file in source.files if (file.name, file.skip) in now]
    counts = f"{len(gone):,} gone, {len(changed):,} changed, {len(new):,} new"
    if gone or changed:
        raise ValueError(
            f"{source.spec} is not what {output} was made of: "
            f"{(gone + changed)[0]} ({counts} of {len(source.files):,} files)"
        )
    if new and not allow_new_shards:
        raise ValueError(
            f"{source.spec} is not what {output} was made of: {new[0].name} is new "
            f"({counts}); label_images --allow_new_shards adds them"
        )
    shards = (*frozen, *_new_shards(new, source, len(frozen)))
    return dataclasses.replace(source, shards=shards)


def freeze(source: Source, output: epath.PathLike, *, allow_new_shards: bool) -> Source:
    """Writes the shards, or those that are new, and returns what `match` does.

    Raises:
        ValueError: Likewise.
    """
    source = match(source, output, allow_new_shards=allow_new_shards)
    path = _path(output)
    if not path.exists() or _read_all(output) != source.shards:
        with artifact.replacing(path) as temporary, temporary.open("wb") as file:
            pq.write_table(
                _table(source.shards), file, row_group_size=_GROUP_ROWS, version="2.6"
            )
    return source


def read_shard(output: epath.PathLike, index: int) -> Shard:
    """Returns one shard of a job, reading little more than its rows.

    Raises:
        ValueError: If there is no such shard.
        OSError: If the list cannot be read.
    """
    path = _path(output)
    stat = path.stat()
    footer = _read_footer(str(path), stat.length, stat.mtime)
    groups = [
        group
        for group in range(footer.num_row_groups)
        if _spans(footer.row_group(group).column(0).statistics, index)
    ]
    with path.open("rb") as file:
        table = pq.ParquetFile(file, metadata=footer).read_row_groups(
            groups, use_threads=False
        )
    rows = table.filter(pc.equal(table["shard"], index))
    if not rows.num_rows:
        raise ValueError(f"{path} has no shard {index}")
    return _shards(rows)[0]


def _path(output: epath.PathLike) -> epath.Path:
    return epath.Path(output) / MANIFEST


def _difference(then: File, now: File) -> str:
    if then.take != now.take:
        return f"had {then.take} records to read, has {now.take}"
    if then.size != now.size and min(then.size, now.size) >= 0:
        return f"had {then.size:,} bytes, has {now.size:,}"
    return ""


def _new_shards(
    files: Sequence[File], source: Source, first_index: int
) -> Iterable[Shard]:
    """Returns new files as shards, as many files in each as the source puts there."""
    if isinstance(source.reader, FolderReader):
        return chunked(files, first_index)
    return (Shard(index, (file,)) for index, file in enumerate(files, first_index))


def _table(shards: Sequence[Shard]) -> pa.Table:
    rows = [(shard.index, file) for shard in shards for file in shard.files]
    columns: dict[str, list[Any]] = {"shard": [index for index, _ in rows]}
    for field in dataclasses.fields(File):
        values = [getattr(file, field.name) for _, file in rows]
        is_text = field.name in ("path", "name")
        columns[field.name] = list(map(os.fsencode, values)) if is_text else values
    return pa.table(columns, schema=_SCHEMA)


def _shards(table: pa.Table) -> tuple[Shard, ...]:
    columns = table.to_pydict()
    indices = columns.pop("shard")
    for name in ("path", "name"):
        columns[name] = list(map(os.fsdecode, columns[name]))
    files = (
        File(**dict(zip(columns, values, strict=True)))
        for values in zip(*columns.values(), strict=True)
    )
    grouped = itertools.groupby(
        zip(indices, files, strict=True), key=lambda row: int(row[0])
    )
    return tuple(
        Shard(index, tuple(file for _, file in rows)) for index, rows in grouped
    )


def _read_all(output: epath.PathLike) -> tuple[Shard, ...]:
    path = _path(output)
    try:
        with path.open("rb") as file:
            return _shards(parquet.read_parquet(file))
    except pa.ArrowException as error:
        words = " ".join(str(error).split())
        raise ValueError(f"{path} is broken: {words}") from error


@functools.lru_cache(maxsize=4)
def _read_footer(path: str, size: int, time: int) -> Any:
    """Returns the footer of the file that had this size and time."""
    with epath.Path(path).open("rb") as file:
        return pq.read_metadata(file)


def _spans(statistics: Any, index: int) -> bool:
    return bool(statistics.min <= index <= statistics.max)
