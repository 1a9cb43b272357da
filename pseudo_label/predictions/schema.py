"""File format of predictions: one Parquet file per input shard, one row per image."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
from etils import epath
from numpy.typing import NDArray

from pseudo_label.predictions import embeddings
from pseudo_label.predictions.embeddings import EMBEDDING, EMBEDDING_NORM
from pseudo_label.predictions.perceptual_hash import perceptual_hashes
from stage import parquet
from stage.status import OK
from stage.typed_json import Count

#: Version 2 added checksums.
SCHEMA_VERSION = 2
_VERSION_WITHOUT_CHECKSUMS = 1
#: Rows of a row group, about 10 MB, the unit of reading. Groups of an eighth of that
#: take nearly twice as long to read.
_GROUP_ROWS = 2**17
#: Columns with few distinct values. Of hashes, the dictionary would exceed the values.
_DICTIONARY_ENCODED = ["status", "error", "label", "top_labels.list.element"]
#: Compressed columns. Without hashes, which do not shrink, and labels and confidences,
#: which shrink by a tenth, selection reads in two thirds of the time.
_COMPRESSED = [
    *("record_index", "key", "status", "error"),
    *("top_labels.list.element", "top_probabilities.list.element"),
]
#: Bytes of the embeddings of a row group, of which a writer holds two.
_GROUP_EMBEDDING_BYTES = 2**26
#: Column of predictions with embeddings whose images have labels.
TRUE_LABEL = "true_label"
_STATUS_COUNTS = b"status_counts"
_FINGERPRINT = b"fingerprint"
_SHARD = b"shard"
_AGREEMENT = b"agreement"
_TURNED = b"turned"
_VERSION = b"schema_version"
_POSITION = "record_index"
#: Files whose facts are remembered, a kilobyte each.
_MAX_KNOWN = 2**18
#: Function from N shard indices and N row positions to the keys of the predictions.
ReadKeys = Callable[[NDArray[Any], NDArray[Any]], Sequence[str]]


def schema(*more: str) -> pa.Schema:
    """Returns the columns of a predictions file.

    record_index: position in the input shard. key: unique name of the image. key_hash:
    `hash_key` of the key, breaks ties. image_sha256: SHA-256 of the encoded bytes.
    perceptual_hash: difference hash of the pixels. status: `ok` or the code of the
    reason for no prediction. error: the reason in words. label, confidence: top class
    and its probability in [0, 1]. top_labels, top_probabilities: the k top classes,
    highest first. Without a prediction the last four and perceptual_hash are null.

    `more` are those of a job with `--embeddings`. embedding: features [D] of length 1,
    or zeros if they are not finite or all zero
    (classifier.inference.ensemble.join_embeddings), null without a prediction; see
    `embeddings`. embedding_norm: length of the features of the one teacher before, not
    finite if they are not. true_label: class that the source says, null where it says
    none.
    """
    columns = pa.schema(
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
            # Not declared of length k: Arrow cannot read null fixed-size lists back.
            ("top_labels", pa.list_(pa.int32())),
            ("top_probabilities", pa.list_(pa.float32())),
        ]
    )
    types = {
        EMBEDDING: pa.binary(),
        EMBEDDING_NORM: pa.float32(),
        TRUE_LABEL: pa.int32(),
    }
    for name in more:
        columns = columns.append(pa.field(name, types[name]))
    return columns


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """B consecutive images of a shard and their predictions.

    Attributes:
        first_index: Position of the first image in its shard.
        keys: [B] unique names.
        images: [B] encoded images.
        status: [B] `ok` or the code of a reason.
        errors: [B] reasons in words.
        probabilities: float32 [B,K].
        pixels: uint8 [B,S,S,3], input of the perceptual hash.
        embeddings: float32 [B,D]; None for no such column.
        embedding_norms: float32 [B]; None for no such column.
        true_labels: [B] labels of the source, -1 where there is none; None for no such
            column.
    """

    first_index: int
    keys: Sequence[str]
    images: Sequence[bytes]
    status: Sequence[str]
    errors: Sequence[str]
    probabilities: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    embeddings: NDArray[np.float32] | None = None
    embedding_norms: NDArray[np.float32] | None = None
    true_labels: NDArray[np.int32] | None = None


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
        *top_columns(order.astype(np.int32), top, is_missing).values(),
    ]
    more = []
    if block.embeddings is not None:
        more.append(EMBEDDING)
        columns.append(embeddings.to_column(block.embeddings, is_missing))
    if block.embedding_norms is not None:
        more.append(EMBEDDING_NORM)
        columns.append(pa.array(block.embedding_norms, mask=is_missing))
    if block.true_labels is not None:
        more.append(TRUE_LABEL)
        labels = block.true_labels
        columns.append(pa.array(labels.astype(np.int32), mask=labels < 0))
    return pa.table(columns, schema=schema(*more))


def top_columns(
    labels: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    is_missing: NDArray[np.bool_],
) -> dict[str, pa.Array]:
    """Returns the columns of top classes and probabilities [B,k], the highest first.

    They are null where they are missing.
    """
    return {
        "label": pa.array(labels[:, 0], mask=is_missing),
        "confidence": pa.array(probabilities[:, 0], mask=is_missing),
        "top_labels": to_lists(labels, is_missing),
        "top_probabilities": to_lists(probabilities, is_missing),
    }


def scatter(values: NDArray[Any], is_missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Returns rows [B,m] of those that are not missing, and zeros for the others."""
    rows = np.zeros((len(is_missing), *values.shape[1:]), values.dtype)
    rows[~is_missing] = values
    return rows


def replace_columns(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    """Returns rows with other values in some columns."""
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeighborAgreement:
    """How often the teacher names the class of the labels that were spread.

    Attributes:
        compared: Number of images that have both.
        same: Number of those with the same class.
    """

    compared: Count = 0
    same: Count = 0

    @property
    def share(self) -> float:
        """Share of the compared images with the same class; 0 if there are none."""
        return self.same / max(1, self.compared)

    def __add__(self, other: NeighborAgreement) -> NeighborAgreement:
        return NeighborAgreement(
            compared=self.compared + other.compared, same=self.same + other.same
        )


def write_shard(
    file: BinaryIO,
    tables: Iterator[pa.Table],
    *,
    fingerprint: str,
    shard: str = "",
    more: Sequence[str] = (),
    agreement: NeighborAgreement | None = None,
    count_turned: Callable[[], int] = lambda: 0,
) -> dict[str, int]:
    """Writes the rows of a shard to a file; returns their number by status.

    The footer holds the fingerprints of the labeling run and of the shard's images, the
    agreement, and how many images are stored turned, if any are; `count_turned` is
    called after the last row. `more` are further columns, see `schema`. Raises
    ValueError if the rows are not in order.
    """
    counts: collections.Counter[str] = collections.Counter()
    with parquet.ChecksumWriter(
        file,
        schema(*more),
        compression=dict.fromkeys(_COMPRESSED, "zstd"),
        use_dictionary=_DICTIONARY_ENCODED,
    ) as writer:
        for table in _groups(tables):
            _check_order(table, counts.total())
            writer.write(table)
            counts.update(table["status"].to_pylist())
        footer = {
            _VERSION: str(SCHEMA_VERSION).encode(),
            _FINGERPRINT: fingerprint.encode(),
            _SHARD: shard.encode(),
            _STATUS_COUNTS: _encode_counts(counts),
        }
        if agreement is not None:
            footer[_AGREEMENT] = _encode_counts(vars(agreement))
        if turned := count_turned():
            footer[_TURNED] = str(turned).encode()
        writer.finish(footer)
    return counts


@dataclasses.dataclass(frozen=True)
class ShardFacts:
    """Contents of a predictions file's footer.

    Attributes:
        num_rows: Number of images in the shard.
        fingerprint: Fingerprint of the labeling run.
        shard: Fingerprint of the images; empty in a file of an earlier version.
        status_counts: Number of rows by status.
        checksums: Checksums of all columns; other rows have others. Empty in a file of
            version 1.
        agreement: Counts of images by whether teacher and spread labels name the same
            class; zeros if no labels were spread.
        turned: Number of images that are stored turned, by their EXIF data; 0 in a file
            of an earlier version, or of blended predictions.
    """

    num_rows: int
    fingerprint: str
    shard: str
    status_counts: dict[str, int]
    checksums: bytes
    agreement: NeighborAgreement = NeighborAgreement()
    turned: int = 0

    @property
    def checksum(self) -> str:
        """CRC-32C of the checksums of all columns, 8 hexadecimal digits."""
        return f"{google_crc32c.value(self.checksums):08x}"


def list_files(directory: epath.PathLike) -> dict[str, epath.Path]:
    """Returns the predictions files in a directory by name, by one listing.

    Of a file in a bucket, `read_facts` asks only once until it is listed with another
    size or time.
    """
    paths = epath.Path(directory).glob("predictions*.parquet")
    return {path.name: path for path in paths}


def read_facts(path: epath.Path) -> ShardFacts:
    """Returns the footer's contents without reading the rows.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is broken or no predictions file.
    """
    with _explaining(path):
        if "://" not in str(path):
            with pa.OSFile(str(path)) as file:
                return _facts(parquet.read_footer(file))
        size, mtime_ns = getattr(path, "size", -1), getattr(path, "mtime_ns", -1)
        if min(size, mtime_ns) < 0:  # It was not listed.
            return _read_remote_facts(str(path))
        return _read_listed_facts(str(path), size, mtime_ns)


def _read_remote_facts(path: str) -> ShardFacts:
    found = epath.Path(path)
    if hasattr(found, "read_end"):  # Beam's file systems.
        return _facts(parquet.parse_footer(found.read_end))
    with found.open("rb") as file:  # TensorFlow's.
        return _facts(parquet.read_footer(file))


@functools.lru_cache(maxsize=_MAX_KNOWN)
def _read_listed_facts(path: str, size: int, mtime_ns: int) -> ShardFacts:
    """Returns the facts of a file that was listed with this size and time."""
    return _read_remote_facts(path)


def _facts(footer: Any) -> ShardFacts:
    metadata = footer.metadata or {}
    _check_version(metadata)
    return ShardFacts(
        footer.num_rows,
        sys.intern(metadata[_FINGERPRINT].decode()),
        metadata.get(_SHARD, b"").decode(),
        _decode_counts(metadata[_STATUS_COUNTS]),
        metadata.get(parquet.CHECKSUMS, b""),
        NeighborAgreement(**_decode_counts(metadata.get(_AGREEMENT, b""))),
        int(metadata.get(_TURNED, 0)),
    )


def read_own_facts(path: epath.Path, *, fingerprint: str, shard: str) -> ShardFacts:
    """Returns the footer's contents of a shard's file that a job has just written.

    Raises:
        RuntimeError: If there is no file, or that of another job or shard.
        ValueError: If it is broken or no predictions file.
    """
    try:
        facts = read_facts(path)
    except FileNotFoundError as error:
        raise RuntimeError(f"{path} is missing; the same command makes it") from error
    check_own_facts(facts, path, fingerprint=fingerprint, shard=shard)
    return facts


def check_own_facts(
    facts: ShardFacts, path: epath.Path, *, fingerprint: str, shard: str | None = None
) -> None:
    """Raises RuntimeError for a file of another job or shard; None for any shard."""
    is_of_shard = shard is None or facts.shard in ("", shard)
    if facts.fingerprint != fingerprint or not is_of_shard:
        raise RuntimeError(
            f"{path} was written by another job, or for other images; delete it and "
            "run the same command"
        )


def read_rows(path: epath.Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields some columns of a file's rows, in order and in blocks.

    Raises the errors of `read_facts`.
    """
    with _explaining(path), _open(path) as file:
        reader = _open_reader(file)
        # Checksums are of rows in order, which is all that has them: `write_shard`.
        names = columns if reader.has_checksums else {*columns, _POSITION}
        expected = _empty_table(columns).schema
        first = 0
        for table in reader.read(list(names)):
            if _POSITION in names:
                _check_order(table, first)
            first += table.num_rows
            table = _as_now(table.select(list(columns)))
            if table.schema.types != expected.types:
                raise ValueError(f"expected {expected.types}, got {table.schema.types}")
            yield table


def read_table(path: epath.Path, columns: Sequence[str]) -> pa.Table:
    """Returns some columns of all rows of a file, in order."""
    return pa.concat_tables([_empty_table(columns), *read_rows(path, columns)])


def _empty_table(columns: Sequence[str]) -> pa.Table:
    every = schema(EMBEDDING, EMBEDDING_NORM, TRUE_LABEL)
    return every.empty_table().select(list(columns))


def _as_now(table: pa.Table) -> pa.Table:
    """Returns rows with the embeddings of an earlier version as those of this one."""
    at = table.schema.get_field_index(EMBEDDING)
    if at < 0 or table.schema.types[at] != embeddings.LISTS:
        return table
    return table.set_column(at, EMBEDDING, embeddings.from_lists(table[EMBEDDING]))


def _open_reader(file: Any) -> parquet.ChecksumReader:
    reader = parquet.ChecksumReader(file)
    _check_version(reader.metadata)
    return reader


def _check_version(metadata: Mapping[bytes, bytes]) -> None:
    """Raises ValueError unless the metadata of a footer are of a known version."""
    has_checksums = parquet.CHECKSUMS in metadata
    expected = SCHEMA_VERSION if has_checksums else _VERSION_WITHOUT_CHECKSUMS
    version = int(metadata.get(_VERSION, _VERSION_WITHOUT_CHECKSUMS))
    if version != expected:
        raise ValueError(f"expected schema version {expected}, got {version}")


def _check_order(table: pa.Table, first: int) -> None:
    """Raises ValueError unless the positions of rows count up from `first`."""
    positions = table[_POSITION].to_numpy()
    expected = np.arange(first, first + len(positions))
    if not np.array_equal(positions, expected):
        row = int(np.argmin(positions == expected))
        raise ValueError(
            f"expected rows in order, got {_POSITION} {positions[row]} in row "
            f"{expected[row]}"
        )


def _open(path: epath.Path) -> Any:
    # Arrow reads its own files twice as fast as Python file objects.
    is_local = "://" not in str(path)
    return pa.OSFile(str(path)) if is_local else path.open("rb")


def _explaining(path: epath.Path) -> contextlib.AbstractContextManager[None]:
    advice = "; if it is damaged, delete it and COMPLETED beside it, and label again"
    return parquet.explaining(path, advice)


def shard_name(index: int) -> str:
    """Returns the file name for one input shard.

    The number of shards is not part of it: a source may grow.
    """
    return f"predictions-{index:05d}.parquet"


def top_classes(probabilities: NDArray[np.float32], top_k: int) -> NDArray[np.int64]:
    """Returns the `top_k` most probable labels of [B,K], int64 [B,k], highest first.

    Of equal probabilities the lower label comes first. For a thousand classes, sorting
    only the k best takes a quarter of the time of sorting all.
    """
    num_classes = probabilities.shape[1]
    # Probability and label in one number: `np.partition`, unlike a stable sort, does
    # not order equal values. Non-negative floats have the order of their bits.
    bits = np.ascontiguousarray(probabilities).view(np.uint32).astype(np.uint64)
    ranks = np.arange(num_classes - 1, -1, -1, dtype=np.uint64)
    keys = (bits << np.uint64(32)) | ranks
    first = max(0, num_classes - top_k)
    best = np.partition(keys, first, axis=1)[:, first:]
    best = np.sort(best, axis=1)[:, ::-1] & np.uint64(0xFFFFFFFF)
    return (num_classes - 1 - best.astype(np.int64)).astype(np.int64)


def hash_key(key: str) -> int:
    """Returns a 64-bit hash of a key, the same on every machine."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yields the same rows in tables of at least `_GROUP_ROWS`, except the last.

    There are fewer if their embeddings are large.
    """
    group: list[pa.Table] = []
    num_rows = num_bytes = 0
    for table in tables:
        group.append(table)
        num_rows += len(table)
        if EMBEDDING in table.schema.names:
            num_bytes += table[EMBEDDING].nbytes
        if num_rows >= _GROUP_ROWS or num_bytes >= _GROUP_EMBEDDING_BYTES:
            yield pa.concat_tables(group)
            group, num_rows, num_bytes = [], 0, 0
    if group:
        yield pa.concat_tables(group)


def to_lists(values: NDArray[Any], is_missing: NDArray[np.bool_]) -> pa.Array:
    """Returns the rows of values [B,m] as lists, null where they are missing."""
    lengths = np.where(is_missing, 0, values.shape[1])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    content = pa.array(values[~is_missing].reshape(-1))
    return pa.ListArray.from_arrays(offsets, content, mask=pa.array(is_missing))


def _encode_counts(counts: dict[str, int]) -> bytes:
    return ",".join(f"{name}={counts[name]}" for name in sorted(counts)).encode()


def _decode_counts(text: bytes) -> dict[str, int]:
    pairs = (pair.split("=") for pair in text.decode().split(",") if pair)
    return {name: int(count) for name, count in pairs}
