"""Members of tar files that are not trusted, in constant memory.

The headers of ustar, with the long names of GNU and of pax. Zeros between members are
skipped, as `tar --ignore-zeros` does: concatenated files are read to their end. More of
them than an archive's end has stand in the place of members. So may fewer, which cannot
be told from an end: up to 1,024 bytes, or fewer than one of `_RECORDS` and 1,024 bytes
that end at its multiple.
The format: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

from classifier.data import streams
from classifier.data.streams import ContentError

_BLOCK = 512
#: Largest extended header in bytes: a name, or what pax says about a member.
_MAX_EXTENSION = 2**20
_MAX_NAME = 4096
#: An end mark is two blocks of zeros; fewer may stand anywhere.
_END_MARK = 2 * _BLOCK
#: Sizes to whose multiple programs pad an archive with further zeros: 20 blocks, or
#: usual values of tar's option -b. With all values any zeros could be padding.
_RECORDS = tuple(
    _BLOCK * blocks for blocks in (20, 32, 64, 128, 256, 512, 1000, 1024, 2000, 2048)
)
#: Comparing with these is several times as fast as to look for another byte.
_ZEROS = bytes(2**18)
_FILES = (b"0", b"\0", b"7")
_FOLDER = b"5"
#: GNU's name of a volume and list of a folder's files.
_NO_MEMBERS = (b"V", b"D")
_SPARSE = b"S"
#: Types without content, whatever size they claim.
_KINDS = {
    b"1": "a link to {link!r}",
    b"2": "a link to {link!r}",
    b"3": "a device",
    b"4": "a device",
    _FOLDER: "a folder",
    b"6": "a pipe",
}
_SPARSE_KIND = "a sparse file"


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """What a header says about a member.

    Attributes:
        name: Path; bytes that are not UTF-8 are surrogates.
        kind: "" for a file with content, else what it is in words.
        size: Bytes of its content.
        archive: Number of end marks before it.
        zeros: Bytes of zeros before it that are no end mark, 0 if there are none.
    """

    name: str
    kind: str
    size: int
    archive: int
    zeros: int


class TarStream:
    """Reads a tar file from its beginning to its end.

    Args:
        stream: Decompressed file.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream = stream
        self._position = 0
        self._end = 0  # Of the current member, with its padding.
        self._archive = 0
        self._archive_start = 0
        self._zeros = 0  # Before the next member, see `Member.zeros`.
        self.offset = 0  #: Where the last header begins.

    def members(self) -> Iterator[Member]:
        """Yields all members but folders and `_NO_MEMBERS`.

        Raises ContentError where the file is no tar file or is cut off.
        """
        of_all: dict[str, str] = {}
        of_next: dict[str, str] = {}
        while (header := self._next_header()) is not None:
            kind, size = header[156:157], _number(header[124:136])
            if kind in (b"x", b"X", b"L", b"K"):
                of_next |= self._extension(kind, size)
            elif kind == b"g":
                of_all |= self._extension(kind, size)
            else:
                member = self._member(header, kind, size, of_all | of_next)
                of_next = {}
                if member is not None:
                    yield member
                    self._zeros = 0
        if of_next:
            raise ContentError("the file ends behind an extended header")

    def read(self, member: Member) -> bytes:
        """Returns the content of the member that `members` yielded last."""
        content = streams.read_up_to(self._stream, member.size)
        self._position += len(content)
        if len(content) < member.size:
            raise ContentError("the file ends within a member")
        return content

    def _next_header(self) -> bytes | None:
        """Returns the next block that is not zero; None at the end of the file."""
        self._skip(self._end - self._position)
        zeros = 0
        while not (block := self._stream.read(_BLOCK)).strip(b"\0"):
            if not block and not zeros:
                raise ContentError("the file ends without an end mark")
            if not block:
                # Fewer may also be padding that is cut off.
                if zeros >= _END_MARK + _RECORDS[0] and not self._may_be_end(zeros):
                    raise ContentError(describe_zeros(zeros))
                return None
            zeros += len(block)
            zeros += self._skip_zeros()
        if not self._may_be_end(zeros):
            self._zeros = zeros
        self.offset = self._position + zeros
        self._position = self._end = self.offset + len(block)
        if zeros >= _END_MARK:
            self._archive += 1
            self._archive_start = self.offset
        if len(block) < _BLOCK:
            raise ContentError("the file ends within a header")
        if not _is_header(block):
            raise ContentError("no tar header")
        return block

    def _may_be_end(self, zeros: int) -> bool:
        """Returns whether zeros can be an end mark, or that and its padding."""
        size = self._position + zeros - self._archive_start
        return zeros <= _END_MARK or any(
            zeros < _END_MARK + record and size % record == 0 for record in _RECORDS
        )

    def _skip_zeros(self) -> int:
        """Skips zero blocks that are in memory already; returns their bytes."""
        content = self._stream.peek()
        zeros = len(content)
        if not _ZEROS.startswith(content):
            zeros -= len(content.lstrip(b"\0"))
        return len(self._stream.read(zeros // _BLOCK * _BLOCK))

    def _skip(self, count: int) -> None:
        if count and not streams.skip(self._stream, count):
            raise ContentError("the file ends within a member")
        self._position += count

    def _extension(self, kind: bytes, size: int) -> dict[str, str]:
        """Returns the fields of the next member that an extended header replaces."""
        if size > _MAX_EXTENSION:
            raise ContentError(
                f"an extended header of {size:,} bytes, expected at most "
                f"{_MAX_EXTENSION:,}"
            )
        self._end += -(-size // _BLOCK) * _BLOCK
        content = self.read(Member("", "", size, 0, 0))
        if kind == b"L":
            return {"path": _text(content)}
        if kind == b"K":
            return {"linkpath": _text(content)}
        return _parse_pax(content)

    def _member(
        self, header: bytes, kind: bytes, size: int, fields: dict[str, str]
    ) -> Member | None:
        name = fields.get("sparse") or fields.get("path") or _name(header)
        if len(name) > _MAX_NAME:
            raise ContentError(
                f"a name of {len(name):,} characters, expected at most {_MAX_NAME:,}"
            )
        if kind == b"\0" and name.endswith("/"):
            kind = _FOLDER
        words = _KINDS.get(kind)
        if words is not None:
            if kind == _FOLDER:
                return None
            link = (fields.get("linkpath") or _text(header[157:257]))[:_MAX_NAME]
            return Member(name, words.format(link=link), 0, self._archive, self._zeros)
        if kind == _SPARSE:
            self._skip_sparse_map(header)
        if "size" in fields:
            size = _decimal(fields["size"])
        self._end += -(-size // _BLOCK) * _BLOCK
        if kind in _NO_MEMBERS:
            return None
        if kind == _SPARSE or "sparse" in fields:
            return Member(name, _SPARSE_KIND, size, self._archive, self._zeros)
        is_file = kind in _FILES
        words = "" if is_file else f"a member of type {_text(kind)!r}"
        return Member(name, words, size, self._archive, self._zeros)

    def _skip_sparse_map(self, header: bytes) -> None:
        """Skips the blocks that continue the header of a sparse file."""
        is_continued = header[482]
        while is_continued:
            block = self._stream.read(_BLOCK)
            if len(block) < _BLOCK:
                raise ContentError("the file ends within a header")
            self._position += _BLOCK
            self._end = self._position
            is_continued = block[504]


def describe_zeros(count: int) -> str:
    """Returns what a message says of zeros that are no end mark."""
    return (
        f"{count:,} bytes of zeros, more than the end of a tar file has (if the file "
        "is whole, write it without tar's option -b)"
    )


def _is_header(block: bytes) -> bool:
    """Returns whether the checksum is right, of bytes with or without a sign."""
    expected = _number(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if unsigned == expected:
        return True
    others = block[:148] + block[156:]
    return unsigned - 256 * sum(byte > 127 for byte in others) == expected


def _number(field: bytes) -> int:
    """Returns a number of a header: octal digits, or GNU's binary."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ") or b"0"
    if digits.strip(b"01234567"):
        raise ContentError("no tar header")
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ContentError(f"expected a size, got {text[:20]!r}")
    return int(text)


def _name(header: bytes) -> str:
    name = _text(header[:100])
    # Elsewhere GNU has other fields in place of the prefix.
    if header[257:263] == b"ustar\0" and header[345]:
        return f"{_text(header[345:500])}/{name}"
    return name


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="surrogateescape")


def _parse_pax(content: bytes) -> dict[str, str]:
    """Returns the fields `path`, `linkpath` and `size`; `sparse` of a sparse file.

    A record is `LENGTH KEY=VALUE` and a line feed; the length is that of all of it.
    The value of `sparse` is the path, "" if that is not there.
    """
    fields: dict[str, str] = {}
    start = 0
    while start < len(content) and content[start]:
        digits, space, _ = content[start : start + 20].partition(b" ")
        end = start + _decimal(digits.decode("latin-1"))
        record = content[start + len(digits) + 1 : end - 1]
        key, equals, value = record.partition(b"=")
        if not space or not equals or content[end - 1 : end] != b"\n":
            raise ContentError("a broken pax header")
        if key in (b"path", b"linkpath", b"size"):
            fields[key.decode()] = value.decode(errors="surrogateescape")
        elif key.startswith(b"GNU.sparse."):
            fields.setdefault("sparse", "")
            if key == b"GNU.sparse.name":
                fields["sparse"] = value.decode(errors="surrogateescape")
        start = end
    return fields
