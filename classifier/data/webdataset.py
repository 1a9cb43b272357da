"""Samples in a WebDataset tar file: adjacent members with the same base name.

`000123.jpg`, `000123.cls` and `000123.json` are one sample. The base name ends at the
first dot behind the last slash; the rest is the extension.
"""

from __future__ import annotations

import dataclasses
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from classifier.data.tfrecord import MAX_LENGTH, Broken

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp")
_BUFFER = 2**16  # Larger is slower: `tarfile` copies the remaining buffer at each read.


@dataclasses.dataclass(slots=True)
class WebDatasetSample:
    """Content of one sample.

    Attributes:
        name: Base name including folders.
        extensions: Extensions of all members.
        images: Bytes of the members that are images, or a placeholder.
        labels: Bytes of the members that are labels; empty where it is a link or too long.
    """

    name: str
    extensions: list[str] = dataclasses.field(default_factory=list)
    images: list[bytes | Broken] = dataclasses.field(default_factory=list)
    labels: list[bytes] = dataclasses.field(default_factory=list)


def read_samples(
    stream: BinaryIO, image_extensions: tuple[str, ...], label_extension: str
) -> Iterator[WebDatasetSample | Broken]:
    """Yields the samples of a tar file, compressed or not, in order.

    Extensions are compared without their case.

    The last is `Broken` if the file is cut off or no tar file.
    """
    sample: WebDatasetSample | None = None
    offset = 0
    try:
        with tarfile.open(
            fileobj=stream, mode="r|*", bufsize=_BUFFER, tarinfo=_Header
        ) as tar:
            while (member := tar.next()) is not None:
                # Otherwise it keeps all headers in memory.
                tar.members.clear()  # type: ignore[attr-defined]
                offset = member.offset
                if member.isdir() or _is_no_sample(member.name):
                    continue
                name, extension = _split(member.name)
                if sample is not None and sample.name != name:
                    yield sample
                    sample = None
                sample = sample or WebDatasetSample(name)
                sample.extensions.append(extension)
                if extension.lower() in image_extensions:
                    sample.images.append(_read(tar, member))
                elif extension.lower() == label_extension:
                    content = _read(tar, member)
                    sample.labels.append(content if isinstance(content, bytes) else b"")
        if sample is not None:
            yield sample
    except (tarfile.TarError, _CutTarError, EOFError) as error:
        if sample is not None and sample.images:  # Read completely before the error.
            yield sample
        yield Broken(f"{error}, behind byte {offset:,}", is_rest=True)


class _CutTarError(Exception):
    """Raised if a tar file ends without its end marker."""


class _Header(tarfile.TarInfo):
    """A member's header; raises `_CutTarError` if it is invalid.

    `tarfile` itself takes an invalid header for the end of the file.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Header:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise _CutTarError(str(error)) from error


def _split(path: str) -> tuple[str, str]:
    folder, slash, name = path.removeprefix("./").rpartition("/")
    base, _, extension = name.partition(".")
    return folder + slash + base, extension


def _is_no_sample(path: str) -> bool:
    """Returns whether the member is hidden or named like `__meta__`."""
    base = path.rpartition("/")[2].partition(".")[0]
    return not base or (base.startswith("__") and base.endswith("__"))


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Broken:
    if not member.isreg():
        return Broken(f"a link to {member.linkname!r}, not the image", is_rest=False)
    if member.size > MAX_LENGTH:
        reason = f"{member.size:,} bytes are more than {MAX_LENGTH:,}"
        return Broken(reason, is_rest=False)
    file = tar.extractfile(member)
    return file.read() if file is not None else b""
