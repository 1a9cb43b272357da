"""What classifiers say about files: the most probable classes of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from classifier.data import listing, python_reader
from classifier.data.examples import OK, File, key_text
from classifier.data.readers import FolderReader
from classifier.inference.ensemble import BATCH_SIZE, Ensemble


@dataclasses.dataclass(frozen=True)
class TopClass:
    """One of the most probable classes of an image."""

    label: int
    class_name: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Answer:
    r"""What is said about one file.

    Attributes:
        file: Where it is; bytes that are not UTF-8 are written as \xNN.
        status: `ok`, or why there are no classes.
        error: The reason in words where the status is not `ok`, else "".
        top: The most probable classes, the first of them the answer.
    """

    file: str
    status: str
    error: str
    top: tuple[TopClass, ...]


def list_images(paths: Iterable[str]) -> list[File]:
    """Returns the files that some paths mean: of a directory all in it, by name.

    A path where there is nothing is kept: reading it tells.

    Raises:
        ValueError: If a directory holds no file.
        OSError: If a directory cannot be listed.
    """
    files = []
    for path in paths:
        if not listing.is_folder(path):
            files.append(File(path=path, name=path, take=1))
            continue
        found = listing.list_folder(path)
        if not found:
            raise ValueError(f"no files in {path!r}")
        files += [
            File(path=one.path, name=one.path, take=1, size=one.size) for one in found
        ]
    return files


def answers(
    ensemble: Ensemble, files: Sequence[File], *, top_k: int
) -> Iterator[Answer]:
    """Yields what an ensemble says about each file, in order.

    Args:
        ensemble: The classifiers.
        files: Of one image each.
        top_k: Classes to name of each; all there are, if there are fewer.

    Raises:
        OSError: On what may pass and did not.
    """
    for batch in python_reader.read_batches(FolderReader(), files, BATCH_SIZE):
        predictions = ensemble.predict(ensemble.decode([one.image for one in batch]))
        for row, example in enumerate(batch):
            status, error = example.status, example.error
            if status == OK:
                status, error = predictions.status[row], predictions.error[row]
            top: tuple[TopClass, ...] = ()
            if status == OK:
                top = _top(predictions.probabilities[row], ensemble.class_names, top_k)
            yield Answer(key_text(example.key), status, error, top)


def tell(answer: Answer, *, width: int) -> str:
    """Returns an answer as lines of a table.

    Args:
        answer: About one file.
        width: Of the classes' names.
    """
    lines = [printable(answer.file)]
    if answer.status != OK:
        lines.append(f"  {answer.status}: {printable(answer.error)}")
    for rank, one in enumerate(answer.top, start=1):
        name = printable(one.class_name)
        lines.append(f"{rank:>5}  {name:<{width}} {one.probability:>8.2%}")
    return "\n".join(lines)


def to_json(answer: Answer) -> str:
    """Returns an answer as one line of JSON, in ASCII."""
    facts = dataclasses.asdict(answer)
    del facts["top" if answer.status != OK else "error"]
    return json.dumps(facts)


def printable(text: str) -> str:
    r"""Returns text that a terminal shows and does not obey.

    Control characters, which a file's name may hold, become \xNN, \n and the like.
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text
    )


def _top(
    probabilities: NDArray[np.float32], class_names: Sequence[str], top_k: int
) -> tuple[TopClass, ...]:
    # Of equal probabilities the first class leads, as where labels are made.
    labels = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    return tuple(
        TopClass(label, class_names[label], float(probabilities[label]))
        for label in labels
    )
