"""Predictions: one Parquet file per input shard, one row for every image.

The schema stands here and nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from numpy.typing import NDArray

from pseudo_label.predictions.perceptual_hash import perceptual_hashes
from stage.status import OK

SCHEMA_VERSION = 1
#: Of a group, which is written and read at once: some ten megabytes. Smaller ones take
#: longer to read, those of an eighth nearly twice as long.
_GROUP_ROWS = 2**17
#: Columns whose values come again and again. A dictionary of hashes is larger than they
#: are, and reading it takes longer.
_REPEATED = ["status", "error", "label", "top_labels.list.element"]
#: Columns that are compressed. Hashes do not shrink, labels and confidences by a tenth,
#: and these are what selecting reads: so it does in two thirds of the time.
_COMPRESSED = [
    *("record_index", "key", "status", "error"),
    *("top_labels.list.element", "top_probabilities.list.element"),
]
_STATUS_COUNTS = b"status_counts"
_FINGERPRINT = b"fingerprint"
_VERSION = b"schema_version"
#: From shards and rows, integers [N] each, to the keys of those predictions.
ReadKeys = Callable[[NDArray[Any], NDArray[Any]], Sequence[str]]


def schema() -> pa.Schema:
    """Returns the columns of a predictions file.

    record_index: position in the input shard. key: the image's unique name.
    key_hash: of the key, breaks ties. image_sha256: of the encoded bytes.
    perceptual_hash: equal or a few bits apart for images that look the same.
    status: `ok` or the reason there is no prediction; error: in words. label,
    confidence: the top class and its probability in [0, 1]; null where not `ok`, as
    are top_labels [k] and top_probabilities [k], highest first.
    """
    return pa.schema(
        [
            ("record_index", pa.int64()),
            ("key", pa.string()),
            ("key_hash", pa.uint64()),
            ("image_sha256", pa.binary(32)),
            ("perceptual_hash", pa.uint64()),
            ("status", pa.string()),
            ("error", pa.string()),
            ("label", pa.int32()),
            ("confidence", pa.float32()),
            # All of length k; declared so, Arrow cannot read back one that is null.
            ("top_labels", pa.list_(pa.int32())),
            ("top_probabilities", pa.list_(pa.float32())),
        ]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Some images and what was predicted for them, row by row.

    Attributes:
        first_index: Position of the first in its shard.
        keys: Unique names.
        images: Encoded bytes.
        status: `ok` or a reason.
        errors: The reason in words.
        probabilities: float32 [B,K].
        pixels: uint8 [B,S,S,3], to hash what the image looks like.
    """

    first_index: int
    keys: Sequence[str]
    images: Sequence[bytes]
    status: Sequence[str]
    errors: Sequence[str]
    probabilities: NDArray[np.float32]
    pixels: NDArray[np.uint8]


def to_table(block: Block, *, top_k: int) -> pa.Table:
    """Returns the rows of a block."""
    is_missing = np.array([status != OK for status in block.status], bool)
    order = top_classes(block.probabilities, top_k)
    top = np.take_along_axis(block.probabilities, order, axis=1)
    end = block.first_index + len(block.keys)
    columns = [
        np.arange(block.first_index, end),
        list(block.keys),
        np.array([hash_key(key) for key in block.keys], np.uint64),
        [hashlib.sha256(image).digest() for image in block.images],
        pa.array(perceptual_hashes(block.pixels), mask=is_missing),
        list(block.status),
        list(block.errors),
        pa.array(order[:, 0].astype(np.int32), mask=is_missing),
        pa.array(top[:, 0], mask=is_missing),
        _lists(order.astype(np.int32), is_missing),
        _lists(top, is_missing),
    ]
    return pa.table(columns, schema=schema())


def write_shard(
    file: BinaryIO, tables: Iterator[pa.Table], *, fingerprint: str
) -> dict[str, int]:
    """Writes a whole predictions file; returns how many rows have which status.

    Args:
        file: Opened for writing.
        tables: The shard's rows in order.
        fingerprint: Of the labeling run, kept in the file.
    """
    counts: dict[str, int] = {}
    with pq.ParquetWriter(
        file,
        schema(),
        compression=dict.fromkeys(_COMPRESSED, "zstd"),
        use_dictionary=_REPEATED,
    ) as writer:
        for table in _groups(tables):
            writer.write_table(table)
            for status in table.column("status").to_pylist():
                counts[status] = counts.get(status, 0) + 1
        writer.add_key_value_metadata(
            {
                _VERSION: str(SCHEMA_VERSION).encode(),
                _FINGERPRINT: fingerprint.encode(),
                _STATUS_COUNTS: _encode_counts(counts),
            }
        )
    return counts


@dataclasses.dataclass(frozen=True)
class ShardFacts:
    """What the footer of a predictions file says.

    Attributes:
        num_rows: Images of the shard.
        fingerprint: Of the labeling run that wrote it.
        status_counts: Rows by status.
        key_hashes: The lowest and the highest; None without a row.
    """

    num_rows: int
    fingerprint: str
    status_counts: dict[str, int]
    key_hashes: tuple[int, int] | None


def read_facts(path: epath.Path) -> ShardFacts:
    """Returns what the footer says, without reading the rows.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is none of predictions, or broken.
    """
    with _telling_of(path), _open(path) as file:
        footer = pq.read_metadata(file)
        extra = footer.metadata or {}
        return ShardFacts(
            footer.num_rows,
            extra[_FINGERPRINT].decode(),
            _decode_counts(extra[_STATUS_COUNTS]),
            _range_of(footer, schema().get_field_index("key_hash")),
        )


def read_rows(path: epath.Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields the rows of a file in order, in blocks, some columns of them.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is none of predictions, or broken.
    """
    with _telling_of(path), _open(path) as file:
        parquet = pq.ParquetFile(file)
        batches = parquet.iter_batches(
            _GROUP_ROWS, columns=list(columns), use_threads=False
        )
        for batch in batches:
            yield pa.Table.from_batches([batch])


def read_table(path: epath.Path, columns: Sequence[str]) -> pa.Table:
    """Returns all rows of a file in order, some columns of them.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is none of predictions, or broken.
    """
    none = schema().empty_table().select(list(columns))
    return pa.concat_tables([none, *read_rows(path, columns)])


def _open(path: epath.Path) -> Any:
    # Arrow reads a file of its own twice as fast as one of Python's.
    is_local = "://" not in str(path)
    return pa.OSFile(str(path)) if is_local else path.open("rb")


@contextlib.contextmanager
def _telling_of(path: epath.Path) -> Iterator[None]:
    """Names the file, which Arrow does not."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, KeyError) as error:
        words = " ".join(str(error).split())
        raise ValueError(
            f"cannot read the predictions in {path}: {words}; if the file is broken, "
            "delete it and COMPLETED beside it, and label again"
        ) from error


def shard_name(index: int) -> str:
    """Returns the file name of the predictions for one input shard.

    Without how many there are: more may be added.
    """
    return f"predictions-{index:05d}.parquet"


def top_classes(probabilities: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Returns the labels [B,k] of the highest of [B,K], highest first.

    Of equal ones the lower label comes first. Sorting the k best alone takes a
    quarter of the time that sorting all of a thousand takes.
    """
    num_classes = probabilities.shape[1]
    # Floats that are not negative are ordered as their bits are; the label makes
    # each number unique, so that a partition cannot choose among equals.
    bits = np.ascontiguousarray(probabilities).view(np.uint32).astype(np.uint64)
    ranks = np.arange(num_classes - 1, -1, -1, dtype=np.uint64)
    keys = (bits << np.uint64(32)) | ranks
    count = min(count, num_classes)
    best = np.partition(keys, num_classes - count, axis=1)[:, num_classes - count :]
    best = np.sort(best, axis=1)[:, ::-1] & np.uint64(0xFFFFFFFF)
    return (num_classes - 1 - best.astype(np.int64)).astype(np.int64)


def hash_key(key: str) -> int:
    """Returns 64 well mixed bits of a key, the same on every machine."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yields the same rows in larger tables: a column's head is worth many rows."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows >= _GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting, rows = [], 0
    if waiting:
        yield pa.concat_tables(waiting)


def _lists(values: NDArray[Any], is_missing: NDArray[np.bool_]) -> pa.Array:
    lengths = np.where(is_missing, 0, values.shape[1])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    content = pa.array(values[~is_missing].reshape(-1))
    return pa.ListArray.from_arrays(offsets, content, mask=pa.array(is_missing))


def _range_of(footer: Any, column: int) -> tuple[int, int] | None:
    groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    ranges = [group.column(column).statistics for group in groups if group.num_rows]
    if not ranges:
        return None
    return min(one.min for one in ranges), max(one.max for one in ranges)


def _encode_counts(counts: dict[str, int]) -> bytes:
    return ",".join(f"{name}={counts[name]}" for name in sorted(counts)).encode()


def _decode_counts(text: bytes) -> dict[str, int]:
    pairs = (pair.split("=") for pair in text.decode().split(",") if pair)
    return {name: int(count) for name, count in pairs}
