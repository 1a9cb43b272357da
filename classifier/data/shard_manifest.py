"""The frozen list of a job's shards (`stage.shard_list`), one row per file.

The first run writes it; later runs must find the same files, so that a shard number
always means the same images. Workers look up their shard, so that a job's graph holds
only numbers, however many files there are.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from classifier.data import opening
from classifier.data.examples import File
from classifier.data.sources import Shard, Source, make_shards
from stage import artifact, parquet, shard_list, typed_json
from stage.text import printable

#: Rows of a Parquet row group, the least that a worker reads to find its shard.
_GROUP_ROWS = 10_000
_SCHEMA = pa.schema(
    [
        ("shard", pa.int64()),
        ("path", pa.binary()),  # Paths and names need not be UTF-8.
        ("name", pa.binary()),
        ("skip", pa.int64()),
        ("take", pa.int64()),
        ("to_end", pa.bool_()),
        ("label", pa.int64()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),  # Since 1970; files of earlier versions have none.
    ]
)


def match_predictions(source: Source, directory: str) -> Source:
    """Returns the images of predictions, in the shards that were frozen.

    Times of files may differ, because every image is compared with its hash later.
    Raises ValueError if the predictions were made of other images.
    """
    source = match(source, directory, allow_new_shards=False, with_times=False)
    expected = artifact.read_config(directory).get("images")
    if expected != source.describe():
        raise ValueError(
            f"{source.spec} is not what {directory} was made of: expected "
            f"{typed_json.shown(expected)}, got {source.describe()}"
        )
    return source


def match(
    source: Source,
    output: epath.PathLike,
    *,
    allow_new_shards: bool,
    with_times: bool = True,
) -> Source:
    """Returns the source in the shards that a job's first run froze; writes nothing.

    Paths and labels are the current ones, numbers and order of shards the frozen ones.
    New files, if they are allowed, are appended as new shards. Raises ValueError if a
    file is gone, has another size or, `with_times`, another time, or is new and not
    allowed.
    """
    path = shard_list.find(output)
    if not path.exists():
        return source
    artifact.check_files(output)
    listed = {(file.name, file.skip): file for file in source.files}
    frozen: list[Shard] = []
    gone: list[str] = []
    changed: list[str] = []
    for shard in _read_shards(path):
        files = []
        for old in shard.files:
            file = listed.pop((old.name, old.skip), None)
            if file is None:
                gone.append(f"{old.name} has gone")
            elif difference := _difference(old, file, with_times):
                changed.append(f"{old.name} {difference}")
            else:
                files.append(file)
        frozen.append(Shard(shard.index, tuple(files)))
    new = list(listed.values())
    counts = f"{len(gone):,} gone, {len(changed):,} changed, {len(new):,} new"
    if gone or changed:
        raise ValueError(
            f"{source.spec} is not what {output} was made of: "
            f"{(gone + changed)[0]} ({counts} of {len(source.files):,} files); restore "
            "the files with their times (cp -p, rsync -t), or choose another output"
        )
    if new and not allow_new_shards:
        raise ValueError(
            f"{source.spec} is not what {output} was made of: {new[0].name} is new "
            f"({counts}); label_images --allow_new_shards adds them"
        )
    shards = (*frozen, *make_shards(new, source.reader, len(frozen)))
    return dataclasses.replace(source, shards=shards)


def freeze(
    source: Source,
    output: epath.PathLike,
    *,
    allow_new_shards: bool,
    with_times: bool = True,
    is_shared: bool = False,
) -> Source:
    """Writes the source's shards unless they are frozen; otherwise acts as `match`.

    If `is_shared`, other processes do so at the same time: the first decides, and
    ValueError is raised if it has other paths.
    """

    def match_again() -> Source:
        return match(
            source, output, allow_new_shards=allow_new_shards, with_times=with_times
        )

    matched, path = match_again(), shard_list.find(output)
    if not path.exists() and artifact.create(path, _encode(matched.shards)):
        return matched
    matched = match_again()
    frozen = _read_shards(path)
    if is_shared:
        _check_paths(path, frozen, matched.shards)
    elif frozen != matched.shards:
        artifact.write_bytes(path, _encode(matched.shards))
    return matched


def _check_paths(
    path: epath.Path, frozen: Sequence[Shard], shards: Sequence[Shard]
) -> None:
    """Raises ValueError unless files that are the same have the same paths."""
    before, now = ([f.path for s in each for f in s.files] for each in (frozen, shards))
    for expected, found in zip(before, now, strict=True):
        if expected != found:
            raise ValueError(
                f"{path}: all parts must see the images by the same paths: expected "
                f"{printable(expected)}, got {printable(found)}"
            )


def _encode(shards: Sequence[Shard]) -> bytes:
    """Returns the file that lists shards."""
    file = io.BytesIO()
    parquet.write_parquet(file, _table(shards), _GROUP_ROWS, version="2.6")
    return file.getvalue()


def read_shard(output: epath.PathLike, index: int) -> Shard:
    """Returns one shard of a job, reading only the row groups that contain it."""
    path = shard_list.find(output)
    footer = _read_footer(str(path), _version(path))
    groups = []
    for group in range(footer.num_row_groups):
        statistics = footer.row_group(group).column(0).statistics
        if statistics.min <= index <= statistics.max:
            groups.append(group)
    if not groups:
        raise ValueError(f"{path} has no shard {index}")
    with parquet.explaining(path), path.open("rb") as file:
        table = pa.concat_tables(
            parquet.ChecksumReader(file, footer).read(groups=groups)
        )
    rows = table.filter(pc.equal(table["shard"], index))
    if not rows.num_rows:
        raise ValueError(f"{path} has no shard {index}")
    return _shards(rows)[0]


def _version(path: epath.Path) -> tuple[int, ...]:
    if "://" in str(path):
        stat = path.stat()
        return stat.length, stat.mtime
    state = os.stat(path)  # To the nanosecond, unlike the path's own.
    return state.st_size, state.st_mtime_ns, state.st_ino


def _difference(old: File, new: File, with_times: bool) -> str:
    if old.take != new.take:
        return f"had {old.take} records to read, has {new.take}"
    mtime_ns = old.mtime_ns if with_times else -1
    return opening.difference(old.size, mtime_ns, new.size, new.mtime_ns)


def _table(shards: Sequence[Shard]) -> pa.Table:
    files = [file for shard in shards for file in shard.files]
    columns = {
        name: [getattr(file, name) for file in files] for name in _SCHEMA.names[1:]
    }
    columns["shard"] = [shard.index for shard in shards for _ in shard.files]
    for name in ("path", "name"):
        columns[name] = list(map(os.fsencode, columns[name]))
    return pa.table(columns, schema=_SCHEMA)


def _read_shards(path: epath.Path) -> tuple[Shard, ...]:
    return _shards(parquet.read_parquet_file(path))


def _shards(table: pa.Table) -> tuple[Shard, ...]:
    files: dict[int, list[File]] = {}
    for row in table.to_pylist():
        index = row.pop("shard")
        row["path"], row["name"] = os.fsdecode(row["path"]), os.fsdecode(row["name"])
        files.setdefault(index, []).append(File(**row))
    return tuple(Shard(index, tuple(group)) for index, group in files.items())


@functools.lru_cache(maxsize=4)
def _read_footer(path: str, version: tuple[int, ...]) -> Any:
    """Returns the file's footer; rewritten files have another `_version`."""
    with parquet.explaining(path), epath.Path(path).open("rb") as file:
        return parquet.read_footer(file)
