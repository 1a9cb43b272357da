"""Samples in a WebDataset's tar file: neighboring members of the same base name.

`000123.jpg`, `000123.cls` and `000123.json` are one sample; the base name ends at the
first dot behind the last slash, and what follows is the extension.
"""

from __future__ import annotations

import dataclasses
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from classifier.data.tfrecord import MAX_LENGTH, Broken

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp")
_BUFFER = 2**16  # It copies what is left of it at every read.


@dataclasses.dataclass(slots=True)
class WebDatasetSample:
    """What one sample holds.

    Attributes:
        name: The base name, folders included.
        extensions: Of all its members.
        images: The bytes of those that are images, or what is wrong with one.
        label: The bytes of the one that is the label.
    """

    name: str
    extensions: list[str] = dataclasses.field(default_factory=list)
    images: list[bytes | Broken] = dataclasses.field(default_factory=list)
    label: bytes = b""


def read_samples(
    stream: BinaryIO, image_extensions: tuple[str, ...], label_extension: str
) -> Iterator[WebDatasetSample | Broken]:
    """Yields the samples of a tar file, compressed or not, in order.

    The last is `Broken` where the file is cut off or is no tar file.
    """
    sample: WebDatasetSample | None = None
    offset = 0
    try:
        with tarfile.open(
            fileobj=stream, mode="r|*", bufsize=_BUFFER, tarinfo=_Header
        ) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # It keeps all.
                offset = member.offset
                if member.isdir() or _is_about_the_file(member.name):
                    continue
                name, extension = _split(member.name)
                if sample is not None and sample.name != name:
                    yield sample
                    sample = None
                sample = sample or WebDatasetSample(name)
                sample.extensions.append(extension)
                if extension.lower() in image_extensions:
                    sample.images.append(_read(tar, member))
                elif extension == label_extension:
                    content = _read(tar, member)
                    sample.label = content if isinstance(content, bytes) else b""
        if sample is not None:
            yield sample
    except (tarfile.TarError, _CutTarError, EOFError) as error:
        if sample is not None and sample.images:  # They were read whole.
            yield sample
        yield Broken(f"{error}, behind byte {offset:,}", is_rest=True)


class _CutTarError(Exception):
    """A tar file that ends otherwise than with its end mark."""


class _Header(tarfile.TarInfo):
    """A member's header.

    `tarfile` takes what is no header for the end of the file, in its middle, too.
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


def _is_about_the_file(path: str) -> bool:
    """Whether it is hidden, or named like `__meta__`: no part of a sample."""
    base = path.rpartition("/")[2].partition(".")[0]
    return not base or (base.startswith("__") and base.endswith("__"))


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Broken:
    if not member.isreg():
        return Broken(f"a link to {member.linkname!r}, not the image", is_rest=False)
    if member.size > MAX_LENGTH:
        words = f"{member.size:,} bytes are more than {MAX_LENGTH:,}"
        return Broken(words, is_rest=False)
    file = tar.extractfile(member)
    return file.read() if file is not None else b""
