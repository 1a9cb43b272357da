"""Tar headers: `tarfile` is the oracle of good ones, bad ones are made by hand."""

import io
import tarfile
import tracemalloc

import pytest

from classifier.data.streams import ContentError
from classifier.data.tar import TarStream

LONG = "/".join(["folder" * 5] * 6)


def read(content):
    """Returns name, kind and content of all members."""
    tar = TarStream(io.BufferedReader(io.BytesIO(content), 4096))
    return [
        (member.name, member.kind, b"" if member.kind else tar.read(member))
        for member in tar.members()
    ]


def write(*members, form=tarfile.PAX_FORMAT, **more):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form, **more) as tar:
        for name, image in members:
            header = tarfile.TarInfo(name)
            header.size = len(image)
            tar.addfile(header, io.BytesIO(image))
    return content.getvalue()


def header(name=b"a.jpg", size=b"%011o" % 0, kind=b"0", rest=b""):
    """A header with the right checksum."""
    fields = [name.ljust(100, b"\0"), b"%07o\0" % 0o644 * 3, size.ljust(12, b"\0")]
    front = b"".join(fields) + b"%011o\0" % 0
    back = (kind + bytes(100) + b"ustar\x0000").ljust(356, b"\0")
    back = back[: 356 - len(rest)] + rest
    number = sum(front) + sum(back) + 8 * 32
    return front + b"%06o\0 " % number + back


END = bytes(1024)
A = ("a.jpg", b"first" * 200)
B = ("b.jpg", b"second")
BOTH = [("a.jpg", "", A[1]), ("b.jpg", "", B[1])]


def pax(*records, kind=b"x"):
    content = b"".join(records)
    padded = content.ljust(-(-len(content) // 512) * 512, b"\0")
    return header(b"pax", b"%011o" % len(content), kind) + padded


def record(key, value):
    text = b" %s=%s\n" % (key, value)
    length = len(text) + len(str(len(text)))
    length += len(str(length)) > len(str(len(text)))
    return b"%d%s" % (length, text)


@pytest.mark.parametrize(
    "form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
@pytest.mark.parametrize(
    "name", ["a.jpg", "./a", "x" * 100, LONG, "\u00fc.jpg", "\udcff.jpg", "a b\n=.jpg"]
)
def test_names_of_every_format(form, name):
    content = write(A, (name, b"x" * 513), B, form=form)
    assert read(content) == [BOTH[0], (name, "", b"x" * 513), BOTH[1]]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_longer_names_than_ustar_holds(form):
    name = LONG + "/" + "x" * 300
    assert read(write((name, b"x"), B, form=form)) == [(name, "", b"x"), BOTH[1]]


def test_old_headers_without_magic():
    old = write(A, B, form=tarfile.USTAR_FORMAT)
    blank = old.replace(b"ustar\x0000", bytes(8))
    plain = bytearray(blank)
    for start in (0, 512 + 1024):
        block = blank[start : start + 512]
        number = sum(block[:148] + block[156:]) + 8 * 32
        plain[start + 148 : start + 156] = b"%06o\0 " % number
    assert read(bytes(plain)) == BOTH


def test_a_signed_checksum():
    content = bytearray(header("\u00fc.jpg".encode()))
    number = sum(content[:148] + content[156:]) + 8 * 32 - 2 * 256
    content[148:156] = b"%06o\0 " % number
    assert read(bytes(content) + END) == [("\u00fc.jpg", "", b"")]


def test_labels_of_volumes_and_lists_of_folders_are_left_out():
    label = header(b"photos.jpg", kind=b"V")
    folder = header(b"x.jpg", size=b"%011o" % 600, kind=b"D") + b"Y".ljust(1024, b"\0")
    assert read(label + folder + write(B)) == [BOTH[1]]


@pytest.mark.parametrize("kind", [*b"12346"])
def test_what_is_no_file_has_no_content(kind):
    content = header(size=b"%011o" % 9999, kind=bytes([kind])) + write(B)
    first, second = read(content)
    assert first[1]
    assert second == BOTH[1]


def test_folders_are_left_out():
    folders = header(b"x", kind=b"5") + header(b"x/", kind=b"\0")
    assert read(folders + write(B)) == [BOTH[1]]


def test_an_unknown_type_has_content():
    content = header(size=b"%011o" % 600, kind=b"Z") + bytes(1024) + write(B)
    (_, kind, _), second = read(content)
    assert "'Z'" in kind
    assert second == BOTH[1]


def test_fields_for_all_members_and_for_one():
    content = (
        pax(record(b"comment", b"x"), record(b"linkpath", b"y"), kind=b"g")
        + pax(record(b"path", b"one.jpg"))
        + header()
        + header(b"l.jpg", kind=b"2")
    )
    found = read(content + END)
    assert [name for name, _, _ in found] == ["one.jpg", "l.jpg"]
    assert "'y'" in found[1][1]


def test_a_size_in_pax_counts():
    content = pax(record(b"size", b"600")) + header() + b"x" * 600 + bytes(424)
    assert read(content + write(B)) == [("a.jpg", "", b"x" * 600), BOTH[1]]


def test_sparse_files_are_named_and_skipped():
    # Of old GNU, whose map goes on in two blocks, and of pax.
    old = header(b"s.jpg", b"%011o" % 512, b"S", rest=b"\1" + bytes(29))
    old += bytes(504) + b"\1" + bytes(7) + bytes(512) + b"d" * 512
    new = pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.name", b"t.jpg"))
    new += header(b"GNUSparseFile.0/t.jpg", b"%011o" % 512) + b"d" * 512
    found = read(old + new + write(B))
    assert [name for name, _, _ in found] == ["s.jpg", "t.jpg", "b.jpg"]
    assert "sparse" in found[0][1]
    assert "sparse" in found[1][1]


@pytest.mark.parametrize("blocks", [0, 1, 2, 20, 1000])
def test_zeros_between_members(blocks):
    first, second = write(A)[:1536], write(B)
    assert read(bytes(blocks * 512) + first + bytes(blocks * 512) + second) == BOTH


def test_zeros_that_are_no_end_mark():
    def zeros(content):
        tar = TarStream(io.BufferedReader(io.BytesIO(content)))
        return [member.zeros for member in tar.members()]

    one, end = write(A)[:1536], write(B)
    assert zeros(one + bytes(512) + end) == [0, 0]
    assert zeros(one + bytes(1024) + end) == [0, 0]  # As Go's archive/tar ends.
    assert zeros(one + bytes(3 * 512) + end) == [0, 3 * 512]
    assert zeros(bytes(4 * 512) + one + end) == [4 * 512, 0]
    assert zeros(write(A) + write(A, B) + one + end) == [0] * 5
    with pytest.raises(ContentError, match=r"18,944 .* zeros"):
        zeros(write(A) + bytes(10240))


@pytest.mark.parametrize("blocks", [32, 64, 128, 1000, 2000, 2048])
def test_zeros_up_to_a_larger_record(blocks):
    record = blocks * 512
    content = write(A).ljust(record, b"\0")
    assert read(content) == BOTH[:1]
    assert read(content + write(B)) == BOTH
    tar = TarStream(io.BufferedReader(io.BytesIO(content + write(B))))
    found = [(member.archive, member.zeros) for member in tar.members()]
    assert found == [(0, 0), (1, 0)]
    for size in (record - 512, record + 512):
        with pytest.raises(ContentError, match="zeros"):
            read(write(A)[:1536] + bytes(size - 1536))


def test_archives_are_told_apart_by_two_blocks_of_zeros():
    def archives(zeros):
        content = write(A)[:1536] + bytes(zeros) + write(B)
        tar = TarStream(io.BufferedReader(io.BytesIO(content)))
        return [member.archive for member in tar.members()]

    assert archives(0) == archives(512) == [0, 0]
    assert archives(1024) == archives(99 * 512) == [0, 1]


@pytest.mark.parametrize("tail", [1, 100, 512, 513, 1024, 10240, 11263])
def test_zeros_at_the_end(tail):
    content = write(A, B)[:2560]
    assert read(content + bytes(tail)) == BOTH


@pytest.mark.parametrize("length", range(0, 2561, 256))
def test_a_cut_file_is_never_complete(length):
    with pytest.raises(ContentError):
        read(write(A, B)[:length])


def test_words_behind_the_end():
    with pytest.raises(ContentError, match="header"):
        read(write(A, B) + b"words" * 200)


@pytest.mark.parametrize(
    "bad",
    [
        header(size=b"\x80" + b"\0" * 3 + (2**62).to_bytes(8, "big")),
        header(size=b"\x80" + b"\xff" * 11),
        header(size=b"\xff" * 12),
        header(size=b"-7"),
        header(size=b"0o17"),
        header(size=b"1_7"),
        header(size=b"99999999999"),
        header(size=b"7" * 12),
        header(kind=b"x", size=b"%011o" % (3 * 2**30)),
        header(kind=b"L", size=b"7" * 12),
        pax(b"0 path=x\n"),
        pax(b"99 path=x\n"),
        pax(b"9999999999999999999999 path=x\n"),
        pax(b"-5 path=x\n"),
        pax(b"9 path=xx"),
        pax(b"words"),
        pax(b"7 path\n"),
        pax(record(b"size", b"-1")) + header(),
        pax(record(b"size", b"9" * 30)) + header(),
        pax(record(b"path", b"x" * 5000)) + header(),
        pax(record(b"path", b"x")),
        b"\xff" * 512,
        header()[:-1] + b"x",
    ],
)
def test_bad_headers_are_one_error(bad):
    tracemalloc.start()
    with pytest.raises(ContentError):
        read(header() + bad + bytes(4096))
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_a_sparse_map_without_end():
    with pytest.raises(ContentError):
        read(header(kind=b"S", rest=b"\1" + bytes(29)) + b"\1" * 512 * 9)


def test_a_long_chain_of_long_names_is_no_recursion():
    name = header(b"././@LongLink", b"%011o" % 2, b"L") + b"z\0".ljust(512, b"\0")
    assert read(name * 5000 + header() + END) == [("z", "", b"")]
