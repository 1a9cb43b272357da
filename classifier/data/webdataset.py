"""Samples in a WebDataset tar file: adjacent members with the same base name.

`000123.jpg`, `000123.cls` and `000123.json` are one sample. The base name ends at the
first dot behind the last slash; the rest is the extension.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

from classifier.data import streams
from classifier.data.streams import ContentError
from classifier.data.tar import Member, TarStream, describe_zeros
from classifier.data.tfrecord import MAX_LENGTH, Broken

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp", "gif", "bmp")
#: Largest label in bytes that is read.
_MAX_LABEL = 1024
#: Members of a sample that are told apart; those behind them only count as such.
_MAX_MEMBERS = 1000


@dataclasses.dataclass(slots=True)
class WebDatasetSample:
    """Content of one sample.

    Attributes:
        name: Base name including folders.
        extensions: Extensions of the first thousand members.
        images: Bytes of the first member that is an image, or a placeholder; of each
            further one a placeholder, because only one is expected.
        labels: Bytes of the members that are labels; empty where one is no file or too
            long.
    """

    name: str
    extensions: list[str] = dataclasses.field(default_factory=list)
    images: list[bytes | Broken] = dataclasses.field(default_factory=list)
    labels: list[bytes] = dataclasses.field(default_factory=list)


def read_samples(
    stream: io.BufferedReader, image_extensions: tuple[str, ...], label_extension: str
) -> Iterator[WebDatasetSample | Broken]:
    """Yields the samples of a tar file, compressed or not, in order.

    Extensions are compared without their case. The last is `Broken` if the file is cut
    off or no tar file.
    """
    sample: WebDatasetSample | None = None
    archive = 0
    tar = TarStream(streams.decompressed(stream))
    try:
        for member in tar.members():
            if member.zeros:
                if sample is not None:
                    yield sample
                    sample = None
                zeros = describe_zeros(member.zeros)
                yield Broken(f"{zeros}, before byte {tar.offset:,}", is_rest=False)
            name, extension = _split(member.name)
            if _is_no_sample(name):
                continue
            if sample is not None and (sample.name, archive) != (name, member.archive):
                yield sample
                sample = None
            sample = sample or WebDatasetSample(name)
            archive = member.archive
            is_image = extension.lower() in image_extensions
            is_label = extension.lower() == label_extension
            _add(tar, member, sample, is_image=is_image, is_label=is_label)
    except ContentError as error:
        if sample is not None and _has_image(sample):
            yield sample
        yield Broken(f"{error}, behind byte {tar.offset:,}", is_rest=True)
        return
    if sample is not None:
        yield sample


def _split(path: str) -> tuple[str, str]:
    folder, slash, name = path.removeprefix("./").rpartition("/")
    base, _, extension = name.partition(".")
    return folder + slash + base, extension


def _is_no_sample(name: str) -> bool:
    """Returns whether members of this name are hidden or like `__meta__`."""
    base = name.rpartition("/")[2]
    return not base or (base.startswith("__") and base.endswith("__"))


def _has_image(sample: WebDatasetSample) -> bool:
    return any(isinstance(image, bytes) for image in sample.images)


def _add(
    tar: TarStream,
    member: Member,
    sample: WebDatasetSample,
    *,
    is_image: bool,
    is_label: bool,
) -> None:
    if len(sample.extensions) == _MAX_MEMBERS:
        return
    sample.extensions.append(_split(member.name)[1])
    if is_image:
        sample.images.append(_read_image(tar, member, sample))
    elif is_label:
        is_short = not member.kind and member.size <= _MAX_LABEL
        sample.labels.append(tar.read(member) if is_short else b"")


def _read_image(
    tar: TarStream, member: Member, sample: WebDatasetSample
) -> bytes | Broken:
    if member.kind:
        return Broken(f"{member.kind}, not the image", is_rest=False)
    if member.size > MAX_LENGTH:
        reason = f"{member.size:,} bytes are more than {MAX_LENGTH:,}"
        return Broken(reason, is_rest=False)
    if sample.images:
        return Broken("another image of its sample", is_rest=False)
    return tar.read(member)
