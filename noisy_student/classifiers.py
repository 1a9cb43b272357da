"""Classifiers: what they say about images in memory and on disk."""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stage import cli

if TYPE_CHECKING:
    import pandas as pd

    from classifier.data.examples import Example
    from classifier.inference.ensemble import Ensemble

#: An image: a file, encoded bytes, an image of Pillow, or uint8 [H,W,3] or [H,W].
Image: TypeAlias = Any


@dataclasses.dataclass(frozen=True, eq=False)
class ImagePredictions:
    """What a classifier says about N images.

    Attributes:
        names: [N] path of each image, or its number.
        status: [N] `ok`, or why there is no prediction; see docs/faults.md.
        probabilities: float32 [N,K]; NaN where the status is not `ok`.
        class_names: [K] names by label.
    """

    names: list[str]
    status: list[str]
    probabilities: NDArray[np.float32]
    class_names: tuple[str, ...]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Most probable class of each image, int64 [N]; -1 without a prediction."""
        is_there = np.array([status == "ok" for status in self.status], bool)
        labels: NDArray[np.int64] = np.where(
            is_there, np.argmax(self.probabilities, axis=1), -1
        )
        return labels

    @property
    def confidences(self) -> NDArray[np.float32]:
        """Probability of that class, float32 [N] in [0, 1]; NaN without one."""
        confidences: NDArray[np.float32] = self.probabilities.max(axis=1)
        return confidences

    @property
    def classes(self) -> list[str | None]:
        """Name of that class, [N]; None without a prediction."""
        return [self.class_names[n] if n >= 0 else None for n in self.labels]

    def to_pandas(self) -> pd.DataFrame:
        """Returns a table with a column for each class; needs pandas."""
        import pandas as pd

        table = pd.DataFrame(
            {
                "image": self.names,
                "status": self.status,
                "class": self.classes,
                "confidence": self.confidences,
            }
        )
        probabilities = pd.DataFrame(self.probabilities, columns=list(self.class_names))
        return pd.concat([table, probabilities], axis="columns")


class ImageClassifier:
    """A trained classifier, or an ensemble of several.

    Args:
        directories: Directory of a classifier, as `student.train` makes it, or those
            of an ensemble, whose probabilities are averaged.
    """

    def __init__(self, *directories: str | os.PathLike[str]) -> None:
        if not directories:
            raise ValueError("expected the directory of a classifier, got none")
        self.directories = tuple(os.fspath(directory) for directory in directories)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes by label."""
        return self._ensemble.class_names

    def predict(self, images: Image | Iterable[Image]) -> ImagePredictions:
        """Returns the probabilities of all classes for each image.

        Args:
            images: An image or several: paths of files or folders, encoded bytes,
                images of Pillow, or arrays uint8 [H,W,3] or [H,W]; or one array
                uint8 [N,H,W,3].

        Raises:
            ValueError: If a folder is empty, or an array is no image.
        """
        names: list[str] = []
        status: list[str] = []
        parts: list[NDArray[np.float32]] = []
        ensemble = self._ensemble
        for batch in _batches(_flatten(images)):
            found = ensemble.predict(ensemble.decode(batch))
            names += [example.key.decode(errors="replace") for example in batch]
            status += found.status
            is_there = np.array([[text == "ok"] for text in found.status])
            parts.append(np.where(is_there, found.probabilities, np.float32("nan")))
        empty = np.zeros((0, len(ensemble.class_names)), np.float32)
        return ImagePredictions(
            names, status, np.concatenate([empty, *parts]), ensemble.class_names
        )

    @functools.cached_property
    def _ensemble(self) -> Ensemble:
        cli.load_tensorflow()
        from classifier.export.facts import own_temperature
        from classifier.export.saved_model import read_ensemble_facts
        from classifier.inference.ensemble import Ensemble

        facts = read_ensemble_facts(self.directories)
        temperature = list(map(own_temperature, self.directories, facts))
        return Ensemble(self.directories, temperature=temperature)


def _flatten(images: Image | Iterable[Image]) -> Iterator[Image]:
    """Yields single images; the files of a folder as paths."""
    is_one = isinstance(images, str | bytes | os.PathLike) or hasattr(images, "save")
    if isinstance(images, np.ndarray):
        is_one = images.ndim < 4
    for image in [images] if is_one else images:
        if isinstance(image, str | os.PathLike) and os.path.isdir(image):
            from classifier.inference.file_predictions import list_images

            yield from (file.path for file in list_images([os.fspath(image)]))
        else:
            yield image


def _batches(images: Iterable[Image]) -> Iterator[list[Example]]:
    from classifier.inference.ensemble import BATCH_SIZE

    batch: list[Example] = []
    for number, image in enumerate(images):
        batch.append(_example(image, number))
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


def _example(image: Image, number: int) -> Example:
    """Returns an image as a row of a batch; a file that cannot be read has a status."""
    from classifier.data.examples import UNLABELED, Example, File
    from classifier.data.readers import FolderReader

    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        return next(FolderReader().examples(File(path=path, name=path, take=1)))
    content = image if isinstance(image, bytes) else _encode(image)
    return Example(str(number).encode(), content, UNLABELED)


def _encode(image: Any) -> bytes:
    """Returns pixels as PNG, so that they pass through the one preprocessing."""
    import PIL.Image

    if isinstance(image, np.ndarray):
        is_image = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
        if image.dtype != np.uint8 or not is_image:
            raise ValueError(
                "expected images as uint8 [H,W,3] or [H,W], got "
                f"{image.dtype} {list(image.shape)}"
            )
        image = PIL.Image.fromarray(image)
    if not isinstance(image, PIL.Image.Image):
        raise ValueError(
            "expected an image as a path, bytes, an image of Pillow or a uint8 array, "
            f"got {type(image).__name__}"
        )
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "png")
    return buffer.getvalue()


__all__: Sequence[str] = ("Image", "ImageClassifier", "ImagePredictions")
