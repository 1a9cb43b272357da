"""The selected images as files, in a folder for each class.

Names come from data: `file_name` makes of them names that are no paths.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

from beam_jobs.writing import selected_images
from classifier.data import shard_manifest
from classifier.data.python_reader import read_examples
from classifier.data.sources import Shard, Source
from pseudo_label.selection import kept_rows
from stage import artifact
from workflow.labels.selected import SelectedLabels

_COLUMNS = (*selected_images.COLUMNS, "label")
#: Endings that others know an image by, by its first bytes; the first is added.
_ENDINGS = {
    b"\xff\xd8\xff": (".jpg", ".jpeg"),
    b"\x89PNG": (".png",),
    b"GIF8": (".gif",),
    b"BM": (".bmp",),
    b"RIFF": (".webp",),
}
#: What is written as %XX: all but letters, digits and a few marks, and what is hidden
#: or lost at an end of a name.
_UNSAFE = re.compile(r"^\.|[^\w .,()+=@-]|[. ]$")
#: Bytes of a name that is not cut; file systems allow 255.
_MAX_BYTES = 200
_CUT_BYTES = 150


def file_name(text: str) -> str:
    """Returns text as the name of a file or folder; `urllib.parse.unquote` undoes it.

    A long one is cut, and ends in a hash of the text.
    """
    name = (_UNSAFE.sub(_escape, text) or "%00").encode()
    if len(name) <= _MAX_BYTES:
        return name.decode()
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
    return f"{name[:_CUT_BYTES].decode(errors='ignore')}%{digest.hexdigest()}"


def plan(labels: SelectedLabels, source: Source, output: str) -> Source:
    """Returns the images in the shards of their predictions, after a few checks.

    Raises ValueError if the images are others, or the output is in a bucket.
    """
    if "://" in output:
        raise ValueError(f"{output}: expected a local directory; copy it afterwards")
    artifact.check_directory(output)
    return shard_manifest.match_predictions(source, labels.predictions.directory)


def write(labels: SelectedLabels, source: Source, output: str) -> int:
    """Writes each selected image once, in the folder of its class.

    The directory gets its name when all are written. Returns their number; `source` is
    what `plan` returned.

    Raises:
        WritingError: If an image is not the labeled one.
        OSError: If two names are the same to the file system, or it is full.
    """
    target = pathlib.Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.parent / f".{target.name}.{uuid.uuid4().hex}"
    unfinished.mkdir()
    folders = [unfinished / file_name(name) for name in labels.predictions.class_names]
    count = 0
    try:
        for shard in source.shards:
            for row, _, image in _images(labels, source, shard):
                folder = folders[row["label"]]
                folder.mkdir(exist_ok=True)
                with open(folder / _image_name(row, image), "xb") as file:
                    file.write(image)
                count += 1
        artifact.sync(unfinished)
        os.rename(unfinished, target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return count


def _images(
    labels: SelectedLabels, source: Source, shard: Shard
) -> Iterator[tuple[dict[str, Any], int, bytes]]:
    _, copies = labels.decide(shard.index)
    if copies.any():
        path = labels.predictions.path(shard.index)
        yield from selected_images.join_images(
            kept_rows.read_kept(path, copies, _COLUMNS),
            copies,
            read_examples(source.reader, shard.files),
            shard=shard.index,
        )


def _image_name(row: dict[str, Any], image: bytes) -> str:
    name = file_name(row["key"])
    for start, endings in _ENDINGS.items():
        if image.startswith(start) and not name.lower().endswith(endings):
            return name + endings[0]
    return name


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogatepass"))
