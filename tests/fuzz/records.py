"""Damaged files of images: TFRecords, tar files, Parquet and CSV files.

What must come back is computed from the damaged bytes with other code: TFRecords are
walked by their documented layout; of a tar file the harness knows the members it wrote.
"""

from __future__ import annotations

import bisect
import functools
import gzip
import io
import itertools
import os
import pathlib
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from classifier.data import csv_listing, parquet_rows, python_reader
from classifier.data.examples import UNLABELED, Example, File
from classifier.data.readers import IMAGE_FEATURE, LABEL_FEATURE
from classifier.data.webdataset import IMAGE_EXTENSIONS
from stage.status import OK
from tests.fuzz import mutations
from tests.fuzz.harness import Target

#: Names that are too long for a tar file's header, that need PAX, and with folders.
_NAMES = ("0", "sub/1", "é" * 60, "long/" + "n" * 150, "4", "5")


def targets(root: pathlib.Path) -> list[Target]:
    """Returns the targets; each writes a file into a directory."""
    records, tars = _record_seeds(), [_tar(style) for style in range(4)]
    pieces = _tar_tokens()
    return [
        _target("tfrecord", root, records, _repair_records, check_records, 1, ()),
        _target("tar", root, tars, _repair_tar, check_tar, 512, pieces),
        _target("parquet", root, _parquet_seeds(), bytes, check_parquet, 1, ()),
        _csv_target(root),
    ] + [
        _target(f"{name}.gz", root, seeds, repair, check, block, ())
        for name, seeds, repair, check, block in (
            ("tfrecord", records, _repair_records, check_records, 1),
            ("tar", tars, _repair_tar, check_tar, 512),
        )
    ]


def _target(
    name: str,
    root: pathlib.Path,
    seeds: Sequence[bytes],
    repair: Callable[[bytes], bytes],
    check: Callable[[bytes, list[Example], bool], None],
    block: int,
    tokens: Sequence[bytes],
) -> Target:
    """Half of the inputs have right checksums, so that the damage goes unnoticed."""
    path = root / name
    is_compressed = name.endswith(".gz")
    plain_seeds = seeds
    if is_compressed:
        seeds = [gzip.compress(seed, mtime=0) for seed in seeds]

    def change(random: Random, seeds: Sequence[bytes]) -> bytes:
        if is_compressed and random.random() < 0.5:
            return mutations.change_bytes(random, seeds)
        content = mutations.change_bytes(random, plain_seeds, tokens, block)
        if random.random() < 0.5:
            content = repair(content)
        return gzip.compress(content, 1, mtime=0) if is_compressed else content

    def run(content: bytes) -> None:
        path.write_bytes(content)
        file = File(path=str(path), name=name)
        if name == "parquet":
            rows = list(parquet_rows.read_rows(file, _COLUMNS))
        elif "tar" in name:
            rows = list(python_reader.read_samples(file, IMAGE_EXTENSIONS, "cls"))
        else:
            rows = list(python_reader.read_records(file, IMAGE_FEATURE, LABEL_FEATURE))
        check_rows(rows, name)
        plain, is_whole = _unpack(content) if is_compressed else (content, True)
        check(plain, rows, is_whole)

    return Target(name, lambda: seeds, change, run, quick=150)


def _csv_target(root: pathlib.Path) -> Target:
    """Lists of paths; what is no list is refused by one line."""
    path = root / "list.csv"
    seeds = [
        b"path,label\na.jpg,x\n../b.jpg,y\n/c/d.jpg,\n",
        b'\xef\xbb\xbflabel,path\r\n0,"a ""b"",c.jpg"\r\n10,gs://b/c.jpg\r\n',
    ]
    tokens = [b'"', b",", b"\n", b"\r", b"\0", b"../", b"://", b"\xff", b'""', b"/.."]

    def run(content: bytes) -> None:
        path.write_bytes(content)
        files, names = csv_listing.list_csv(f"csv:{path}", str(path))
        assert 0 < len(files) <= content.count(b"\n") + content.count(b"\r")
        for file in files:
            parts = file.name.split("/")
            assert parts[0] and ".." not in parts, file.name
            assert UNLABELED <= file.label < len(names or ())

    def change(random: Random, seeds: Sequence[bytes]) -> bytes:
        return mutations.change_bytes(random, seeds, tokens)

    return Target("list.csv", lambda: seeds, change, run, str(path), quick=150)


def check_rows(rows: Sequence[Example], name: str) -> None:
    """Each row has its own key, and either an image or one line with the reason."""
    keys = [row.key for row in rows]
    prefixes = [os.fsencode(f"{name}#{index}") for index in range(len(rows))]
    assert all(map(bytes.startswith, keys, prefixes)), keys
    for row in rows:
        assert (row.status == OK) == (not row.error), row
        assert row.status == OK or not row.image, row.key
        is_line = len(row.error.splitlines()) <= 1 and len(row.error) < 2_000
        assert is_line, f"a reason of several lines: {row.error!r}"
        assert row.label == UNLABELED or 0 <= row.label < 2**63


def _unpack(content: bytes) -> tuple[bytes, bool]:
    """Returns what can be decompressed, byte by byte, and whether that is all."""
    plain, inflate = [], zlib.decompressobj(31)
    try:
        while True:
            for at in range(len(content)):
                plain.append(inflate.decompress(content[at : at + 1]))
            content = inflate.unused_data.lstrip(b"\0")
            if not inflate.eof or not content:
                return b"".join(plain), inflate.eof
            inflate = zlib.decompressobj(31)
    except zlib.error:
        return b"".join(plain), False


# --- TFRecords ------------------------------------------------------------------
def _record_seeds() -> list[bytes]:
    seeds = []
    for number in range(3):
        random, frames = Random(number), []
        for index in range(number * 4):
            image = random.randbytes(random.choice((0, 1, 30, 300, 3_000)))
            features = {
                IMAGE_FEATURE: tf.train.Feature(bytes_list={"value": [image]}),
                LABEL_FEATURE: tf.train.Feature(int64_list={"value": [index]}),
            }
            example = tf.train.Example(features={"feature": features})
            frames.append(_frame(example.SerializeToString(deterministic=True)))
        seeds.append(b"".join(frames))
    return seeds


def _masked(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def _frame(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + _masked(length) + content + _masked(content)


def _repair_records(content: bytes) -> bytes:
    """Makes every checksum right, whatever the lengths are."""
    repaired, at = bytearray(content), 0
    while at + 16 <= len(repaired):
        length = int.from_bytes(repaired[at : at + 8], "little")
        repaired[at + 8 : at + 12] = _masked(bytes(repaired[at : at + 8]))
        end = at + 12 + length
        if end + 4 > len(repaired):
            break
        repaired[end : end + 4] = _masked(bytes(repaired[at + 12 : end]))
        at = end + 4
    return bytes(repaired)


def check_records(content: bytes, rows: Sequence[Example], is_whole: bool) -> None:
    """Every intact record is in its place; every other one, and the rest, is a row."""
    at, expected = 0, []
    while at < len(content):
        head = content[at : at + 12]
        end = at + 12 + int.from_bytes(head[:8], "little")
        if head[8:] != _masked(head[:8]) or end + 4 > len(content):
            is_whole = False
            break
        record = content[at + 12 : end]
        expected.append(record if content[end : end + 4] == _masked(record) else None)
        at = end + 4
    for row, record in zip(rows, expected, strict=False):
        check_record(row, record)
    lost = [row for row in rows[len(expected) :] if row.status == OK]
    assert not lost, f"{len(lost)} records too many"
    count = len(expected) + (not is_whole)
    assert len(rows) >= count, f"expected {count} rows, got {len(rows)}"
    assert not is_whole or len(rows) == count, f"{len(rows)} rows of {count} records"


def check_record(row: Example, record: bytes | None) -> None:
    """An intact record with one image is that image; any other has a reason."""
    try:
        features = tf.train.Example.FromString(record).features.feature
        (image,) = features[IMAGE_FEATURE].bytes_list.value
    except Exception:  # None of our records; its row has any reason.
        assert row.status != OK, row.key
        return
    labels = features[LABEL_FEATURE].int64_list.value
    label = labels[0] if len(labels) == 1 else UNLABELED
    assert row.status == OK, f"lost an intact record: {row.error}"
    assert row.image == image, row.key
    assert row.label == label or label < 0, (row.key, row.label, label)


# --- Parquet ----------------------------------------------------------------------
_COLUMNS = parquet_rows.Columns("image", "label", ("a", "b", "c"))


def _parquet_values(style: int) -> list[tuple[bytes, int]]:
    random = Random(style)
    lengths = random.choices((0, 1, 30, 300, 3_000), k=(40, 0, 7)[style % 3])
    return [(random.randbytes(size), index % 3) for index, size in enumerate(lengths)]


@functools.cache
def _parquet(style: int) -> bytes:
    values = _parquet_values(style)
    images = [{"bytes": image, "path": "x"} for image, _ in values]
    labels: list[Any] = [label for _, label in values]
    if style % 2:
        labels = ["abc"[label] for label in labels]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    file = io.BytesIO()
    pq.write_table(
        pa.table({"image": pa.array(images, kind), "label": labels, "more": labels}),
        file,
        row_group_size=15,
        compression=("none", "snappy", "zstd")[style // 2 % 3],
        data_page_size=2_000,
        write_page_checksum=style % 4 < 2,
    )
    return file.getvalue()


def _parquet_seeds() -> list[bytes]:
    return [_parquet(style) for style in range(6)]


@functools.cache
def _parquet_groups(style: int) -> list[tuple[int, int, int, int]]:
    """Returns first row, number of rows, and first and last byte of each row group."""
    footer, groups, row = pq.read_metadata(io.BytesIO(_parquet(style))), [], 0
    for index in range(footer.num_row_groups):
        group = footer.row_group(index)
        chunks = [group.column(at) for at in range(group.num_columns)]
        start = min(
            min(chunk.data_page_offset, chunk.dictionary_page_offset or 2**62)
            for chunk in chunks
        )
        end = start + sum(chunk.total_compressed_size for chunk in chunks)
        groups.append((row, group.num_rows, start, end))
        row += group.num_rows
    return groups


def check_parquet(content: bytes, rows: Sequence[Example], is_whole: bool) -> None:
    """Row groups that are untouched come back if the footer is; others have reasons.

    Nothing covers the footer, and few files have checksums of pages.
    """
    for style in range(6):
        seed, groups = _parquet(style), _parquet_groups(style)
        end = groups[-1][3] if groups else 4
        if len(content) != len(seed) or content[end:] != seed[end:]:
            continue
        values = _parquet_values(style)
        assert len(rows) == len(values), f"{len(rows)} rows of {len(values)}"
        for first, count, start, stop in groups:
            if content[start:stop] == seed[start:stop]:
                found = [(row.image, row.label) for row in rows[first:][:count]]
                assert found == values[first:][:count], f"other rows from {first} on"


# --- tar files ------------------------------------------------------------------
@functools.cache
def _members() -> tuple[tuple[str, bytes], ...]:
    """Names and contents of pictures and labels, all different."""
    random = Random(0)
    return tuple(
        (f"{name}.{kind}", random.randbytes(size) if kind != "cls" else b"%d" % index)
        for index, (name, size) in enumerate(
            zip(_NAMES, (10, 511, 512, 513, 1_500, 3_000), strict=True)
        )
        for kind in ("jpg", "cls")
    )


@functools.cache
def _tar(style: int) -> bytes:
    formats = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    members = _members() if style else _members()[:4] + _members()[8:]
    file = io.BytesIO()
    headers = {"comment": "of all"} if style == 3 else {}
    with tarfile.open(
        fileobj=file, mode="w", format=formats[min(style, 2)], pax_headers=headers
    ) as tar:
        for name, content in members:
            tar.addfile(_header(name, len(content)), io.BytesIO(content))
    return file.getvalue()


def _header(name: str, size: int, pax: dict[str, str] | None = None) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.pax_headers = size, pax or {}
    return header


def _tar_tokens() -> list[bytes]:
    """Headers of every kind, some with absurd sizes; most are no image's."""
    headers = []
    for kind, size in itertools.product(b"01257xgLKSDVMA\0", (0, 5, 8**11 - 1, 2**62)):
        header = _header("0.jpg", size)
        header.type, header.linkname = bytes([kind]), "0.jpg"
        headers.append(header.tobuf(tarfile.GNU_FORMAT))
    for pax in (
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
        {"GNU.sparse.map": "0,1,9", "GNU.sparse.size": "9" * 18},
        *({"size": size} for size in ("-1", "x", "9" * 30, "5")),
        {"path": "a\nb.jpg", "mtime": "nan", "hdrcharset": "BINARY"},
    ):
        headers.append(_header("0.jpg", 512, pax).tobuf(tarfile.PAX_FORMAT))
    numbers = [b"7" * 11, b"-1", b"\x80" + b"\0" * 7 + b"\x40", b"\xff" * 12]
    return [*headers, *numbers, bytes(512), bytes(1_024), b"25 GNU.sparse.map=1,2,3\n"]


def _repair_tar(content: bytes) -> bytes:
    """Makes the checksum of every header right."""
    repaired = bytearray(content)
    for at in range(0, len(repaired) - 511, 512):
        if repaired[at + 257 : at + 262] == b"ustar":
            repaired[at + 148 : at + 156] = b" " * 8
            total = sum(repaired[at : at + 512])
            repaired[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(repaired)


@functools.cache
def _samples(style: int) -> tuple[tuple[Example, bytes], ...]:
    """Returns each sample of a file and its bytes there: headers and contents."""
    content, found, at = _tar(style), [], 0
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = tar.getmembers()
    for picture, label in zip(members[::2], members[1::2], strict=True):
        end = label.offset_data + 512
        image = content[picture.offset_data :][: picture.size]
        number = int(content[label.offset_data :][: label.size])
        row = Example(picture.name.removesuffix(".jpg").encode(), image, number)
        found.append((row, content[at:end]))
        at = end
    return tuple(found)


def check_tar(content: bytes, rows: Sequence[Example], is_whole: bool) -> None:
    """Untouched samples are returned up to the first damage; then at least a reason.

    No checksum covers a tar file's contents, so that a picture may be another one.
    """
    is_explained = any(row.status != OK for row in rows)
    assert is_explained or is_whole, "cut or damaged without a reason"
    images = [row.image for row in rows]
    for style in range(4):
        samples = _samples(style)
        for sample, span in samples:
            is_lost = not any(sample.image in image for image in images)
            is_kept = is_explained or not is_lost or span not in content
            assert is_kept, "an untouched sample is lost without a reason"
        start = _tar(style)[: _count_same(content, _tar(style))]
        first = [sample for sample, span in samples if span in start]
        assert len(rows) >= len(first), f"{len(rows)} rows, {len(first)} untouched"
        for row, sample in zip(rows, first[:-1], strict=False):
            assert row.key.endswith(b"/" + sample.key), (row.key, sample.key)
            assert (row.image, row.label) == (sample.image, sample.label), row.key


def _count_same(first: bytes, second: bytes) -> int:
    """Returns the length of the common prefix."""
    return bisect.bisect_left(
        range(min(len(first), len(second))),
        True,
        key=lambda at: first[: at + 1] != second[: at + 1],
    )
