"""Streams of any bytes: compared with Python's own modules, and attacked."""

import bz2
import gzip
import io
import lzma
import tracemalloc
import zlib

import numpy as np
import pytest

from classifier.data import streams
from classifier.data.streams import ContentError

CONTENT = np.random.default_rng(0).bytes(300_000) + bytes(300_000)
COMPRESS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
}


def decompress(content):
    return streams.decompressed(io.BufferedReader(io.BytesIO(content)))


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=len)
def test_files_of_the_usual_programs(kind, content):
    assert decompress(COMPRESS[kind](content)).read() == content


@pytest.mark.parametrize("content", [b"", b"x", CONTENT, b"BZhello, world"], ids=len)
def test_what_is_not_compressed_stays(content):
    assert decompress(content).read() == content


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_concatenated_and_padded_files(kind):
    part = COMPRESS[kind](CONTENT)
    assert decompress(part + part + bytes(100) + part + bytes(9)).read() == CONTENT * 3


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[:200_000] + bytes(99) + content[200_099:],
    ],
    ids=["half", "last byte", "overwritten"],
)
def test_damage_is_an_error_behind_what_is_good(kind, damage):
    stream = decompress(damage(COMPRESS[kind](CONTENT)))
    if kind != "bzip2":  # Its blocks are longer than what is read here.
        assert stream.read(100_000) == CONTENT[:100_000]
    with pytest.raises(ContentError):
        while stream.read(1000):
            pass


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_words_behind_the_end_are_an_error(kind):
    stream = decompress(COMPRESS[kind](CONTENT) + b"words")
    assert stream.read(len(CONTENT)) == CONTENT
    with pytest.raises(ContentError):
        stream.read()


def test_everything_in_front_of_a_wrong_checksum_is_there():
    content = bytearray(gzip.compress(CONTENT))
    content[-8] ^= 1
    stream = decompress(bytes(content))
    assert stream.read(len(CONTENT)) == CONTENT
    with pytest.raises(ContentError):
        stream.read(1)


def test_many_empty_streams_take_no_square_time(monkeypatch):
    """Counts the bytes that are given to decompressors, again where they are copied."""
    given = []

    class Counting(streams._Inflate):
        def decompress(self, content, max_length):
            given.append(len(content))
            return super().decompress(content, max_length)

    monkeypatch.setattr(streams, "_Inflate", Counting)
    monkeypatch.setattr(streams, "_SLICE", 1000)
    flood = gzip.compress(b"") * 5000
    assert decompress(flood + gzip.compress(b"x")).read() == b"x"
    assert sum(given) <= 1000 * 5002


@pytest.mark.parametrize("kind", COMPRESS)
def test_bombs_are_refused_in_constant_memory(kind, monkeypatch):
    monkeypatch.setattr(streams, "_FREE_BYTES", 2**20)
    stream = decompress(COMPRESS[kind](bytes(2**25)))
    tracemalloc.start()
    with pytest.raises(ContentError, match="100 times"):
        while stream.read(2**16):
            pass
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_wrong_length_takes_no_memory():
    tracemalloc.start()
    assert streams.read_up_to(io.BytesIO(b"short"), 2**40) == b"short"
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


@pytest.mark.parametrize("count", [3, 2**16 + 1, 2**24 + 3])
def test_reading_up_to_a_count(count):
    content = bytes(range(256)) * (2**24 // 256 + 1)
    assert streams.read_up_to(io.BytesIO(content), count) == content[:count]


@pytest.mark.parametrize("make", [io.BytesIO, lambda content: decompress(content)])
@pytest.mark.parametrize("count", [0, 1, 70_000, 2**20 - 1, 2**20, 2**62, 2**90])
def test_skipping(make, count):
    content = bytes(range(256)) * 4096
    stream = make(content)
    is_there = count <= len(content)
    assert streams.skip(stream, count) == is_there
    if is_there:
        assert stream.read(5) == content[count : count + 5]


def test_zlib_is_inflated():
    assert streams.inflated(io.BytesIO(zlib.compress(CONTENT))).read() == CONTENT
