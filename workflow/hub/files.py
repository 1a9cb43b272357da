"""Which files of an artifact go to a repository, and with what content.

Those that `COMPLETED` lists, so nothing that somebody else has put there. What tells
about the machine that made them stays there: command lines, the paths of a dataset's
inputs, names of labeled images. Cards and `licenses.json` name the sources that an
artifact was made of, see `stage.licenses.public_name`.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from classifier.export import model_card
from classifier.export.facts import CLASSIFIER, OWN_CALIBRATION
from stage import artifact, licenses
from stage.artifact_kinds import DATASET_INFO
from stage.calibration_files import CALIBRATION_ROWS
from stage.text import printable
from stage.typed_json import check_size

Kind: TypeAlias = Literal["model", "dataset"]
#: File by which an artifact is known to be of a kind, as TFDS names it for a dataset.
_KNOWN_BY = {"model": CLASSIFIER, "dataset": DATASET_INFO}
#: Files that stay: paths of what a dataset was made of, names of labeled images.
_KEPT_HERE = frozenset({"inputs.json", f"{OWN_CALIBRATION}/{CALIBRATION_ROWS}"})
#: Endings of texts, which are searched for what is private.
_TEXTS = (".json", ".jsonl", ".md", ".txt", artifact.COMPLETED)
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{30,}")
#: What may be an absolute path: its first two names, which a slash follows.
_ABSOLUTE = re.compile(r"(?<![\w./~-])((?:/[^\s/\"'`|<>()\\]+){2})/")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upload:
    """A file of a repository.

    Attributes:
        name: Path in the repository.
        source: Path of the file, or its content where it is not the same there.
        size: Number of bytes.
    """

    name: str
    source: pathlib.Path | bytes
    size: int

    def read(self) -> bytes:
        """Returns the content."""
        if isinstance(self.source, pathlib.Path):
            return self.source.read_bytes()
        return self.source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Package:
    """What one repository gets.

    Attributes:
        kind: Kind of the repository.
        repository: Its name, OWNER/NAME.
        files: Its files, by name.
        sources: Names of images and weights in the card and in `licenses.json`.
    """

    kind: Kind
    repository: str
    files: tuple[Upload, ...]
    sources: tuple[str, ...]

    @property
    def card(self) -> str:
        """Text of the card."""
        found = {file.name: file for file in self.files}
        return found[artifact.CARD].read().decode()

    def describe(self) -> Iterator[str]:
        """Yields lines: the repository, then its files with their sizes."""
        total = sum(file.size for file in self.files)
        yield (
            f"{self.kind} repository {self.repository}: {len(self.files):,} files, "
            f"{total:,} bytes"
        )
        for file in self.files:
            yield f"{file.size:>16,}  {printable(file.name)}"

    def describe_sources(self) -> str:
        """Returns a line about the sources that the files name."""
        names = ", ".join(map(printable, self.sources)) or "none"
        return f"sources that its card and {artifact.LICENSES} name: {names}"


def plan(
    kind: Kind,
    directory: str,
    repository: str,
    *,
    more: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> Package:
    """Returns what a repository gets of a complete artifact.

    Args:
        kind: Kind of the repository.
        directory: Directory of a classifier or a dataset.
        repository: OWNER/NAME.
        more: Further files, which get their own names.
        datasets: Repositories that the card of a classifier is to name.

    Raises:
        FileNotFoundError: If there is no such directory or file.
        ValueError: If it is incomplete, something else, or a file is private.
    """
    path = _open(kind, directory)
    files = {file.name: file for file in _own_files(path)}
    if kind == "model":
        card = model_card.make_card(path, datasets).encode()
        files[artifact.CARD] = Upload(name=artifact.CARD, source=card, size=len(card))
    if artifact.CARD not in files:
        raise ValueError(f"{path} has no {artifact.CARD}; run write_records again")
    for file in map(_further_file, more):
        if file.name in files:
            raise ValueError(f"--file: there is another file {file.name!r}")
        files[file.name] = file
    for file in files.values():
        _check_private(file, path)
    ordered = tuple(files[name] for name in sorted(files))
    sources = tuple(origin.name for origin in licenses.read_if_any(path) or ())
    return Package(kind=kind, repository=repository, files=ordered, sources=sources)


def _own_files(path: pathlib.Path) -> Iterator[Upload]:
    """Yields the files of an artifact, and of a calibration inside, that may leave."""
    found = [_artifact_files(path, "")]
    if artifact.is_complete(path / OWN_CALIBRATION):
        found.append(_artifact_files(path / OWN_CALIBRATION, f"{OWN_CALIBRATION}/"))
    for file in itertools.chain(*found):
        if file.name not in _KEPT_HERE:
            yield file


def _open(kind: Kind, directory: str) -> pathlib.Path:
    if "://" in directory:
        raise ValueError(f"{directory}: expected a local directory; copy it before")
    what = "classifier" if kind == "model" else "dataset"
    path = artifact.require_complete(directory, what)
    if not (path / _KNOWN_BY[kind]).exists():
        raise ValueError(f"{directory} is no {what}: no {_KNOWN_BY[kind]} in it")
    return pathlib.Path(path)


def _artifact_files(path: pathlib.Path, prefix: str) -> Iterator[Upload]:
    """Yields the files of an artifact; `COMPLETED` without the command line."""
    artifact.check_sizes(path)
    completed = artifact.read_completed(path)
    if not completed.files:
        raise ValueError(
            f"{path / artifact.COMPLETED} lists no files, as an earlier version wrote "
            "it; make the artifact again to push it"
        )
    descriptions = [name for name in artifact.DESCRIPTIONS if (path / name).exists()]
    for name in (*completed.files, *descriptions):
        size = (path / name).stat().st_size
        yield Upload(name=prefix + name, source=path / name, size=size)
    public = dataclasses.asdict(dataclasses.replace(completed, command=()))
    content = artifact.to_json(public)
    yield Upload(name=prefix + artifact.COMPLETED, source=content, size=len(content))


def _further_file(text: str) -> Upload:
    path = pathlib.Path(text)
    if not path.is_file():
        raise FileNotFoundError(f"--file: no file {text!r}")
    return Upload(name=path.name, source=path, size=path.stat().st_size)


def _check_private(file: Upload, directory: pathlib.Path) -> None:
    """Raises ValueError for a text with a path of this machine, or a token."""
    if not file.name.endswith(_TEXTS):
        return
    if isinstance(file.source, pathlib.Path):
        check_size(file.source)
    content = file.read().decode(errors="replace")
    for place in _find_places(content, directory):
        raise ValueError(
            f"{directory / file.name} names {printable(place)}, a directory of this "
            "machine; make the artifact with relative paths to push it"
        )
    if _TOKEN.search(content):
        raise ValueError(f"{directory / file.name} holds what looks like a token")


def _find_places(content: str, directory: pathlib.Path) -> Iterator[str]:
    """Yields directories of this machine that a text names.

    Not all that looks like a path is one: some datasets have classes such as
    `/m/01g317`.
    """
    places = (os.path.expanduser("~"), os.getcwd(), str(directory.resolve().parent))
    yield from (p for p in places if len(p) > 1 and f"{p}/" in content)
    yield from filter(os.path.isdir, set(_ABSOLUTE.findall(content)))
