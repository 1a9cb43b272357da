"""Paths on any file system that Beam knows: gs://, s3://, hdfs:// and so on.

`epath` by itself reads those through TensorFlow, whose clients know neither
emulators nor most of the systems. `register` has it go through Beam, with Beam's
credentials and options; local paths stay as they are.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import importlib
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from apache_beam.io.filesystem import (
    BeamIOError,
    CompressionTypes,
    FileMetadata,
    FileSystem,
)
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath
from etils.epath.stat_utils import StatResult

from stage.retry import retrying

T = TypeVar("T")

#: By scheme: what it needs, and the extra of Beam that installs it.
_NEEDS = {
    "gs": ("google.cloud.storage", "gcp"),
    "s3": ("boto3", "aws"),
    "hdfs": ("hdfs", "hadoop"),
    "azfs": ("azure.storage.blob", "azure"),
}
_ERRNO_OF_HTTP = {403: errno.EACCES, 404: errno.ENOENT}
_BUFFER = 2**20
#: Files that are copied side by side.
_COPIES = 16
_registered: set[str] = set()


def register(options: PipelineOptions | None = None) -> None:
    """Has `epath.Path` go through Beam for all prefixes that Beam knows.

    Args:
        options: Beam's options of file systems, as `--s3_endpoint_url`. A worker has
            them from its job.
    """
    if options is not None:
        FileSystems.set_options(options)
    schemes = {system.scheme() for system in FileSystem.get_all_subclasses()}
    missing = (schemes | set(_NEEDS)) - _registered - {None}
    if missing:
        epath.register_path_cls([f"{scheme}://" for scheme in sorted(missing)])(
            RemotePath
        )
        _registered.update(missing)


def fetch(
    path: epath.PathLike, directory: epath.PathLike, *, leave_out: tuple[str, ...] = ()
) -> epath.Path:
    """Returns a local copy of a remote tree; a local path comes back as it is.

    Args:
        path: Of the tree.
        directory: Local, to copy it to.
        leave_out: Files and folders at the top of the tree that are not wanted.

    Raises:
        FileNotFoundError: If there is nothing.
        OSError: If it cannot be read.
    """
    source, target = epath.Path(path), epath.Path(directory)
    if not isinstance(source, RemotePath):
        return source
    names = [str(found).removeprefix(f"{source}/") for found in source.rglob("*")]
    if not names:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))

    def copy(name: str) -> None:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(retrying((source / name).read_bytes))

    wanted = [name for name in names if name.split("/")[0] not in leave_out]
    with concurrent.futures.ThreadPoolExecutor(_COPIES) as pool:
        list(pool.map(copy, wanted))
    return target


class RemotePath(epath.Path):
    """A path on one of Beam's file systems.

    Object stores have no folders: one is there when something is below it. What a
    file system raises comes as the OSError that a local file would raise, after
    further tries where it may pass.
    """

    _found: FileMetadata | None = None  # Of a path that was listed.

    def __str__(self) -> str:
        scheme, *parts = self.parts or (".",)
        if not scheme.endswith(":"):  # Relative to another.
            return "/".join([scheme, *parts])
        return f"{scheme}//{'/'.join(parts)}"

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def size(self) -> int:
        """Bytes of a file as it was listed, -1 of a path that was not."""
        return -1 if self._found is None else int(self._found.size_in_bytes)

    def is_absolute(self) -> bool:
        """Whether it needs no working directory: always."""
        return True

    def resolve(self, strict: bool = False) -> RemotePath:
        """Returns the path itself: there are no links."""
        return self

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        return self._is_there() or self.is_dir()

    def is_dir(self) -> bool:
        """Whether there is something below it."""
        pattern = _literal(self) + ("/*" if self._has_folders() else "/**")
        limit = 1 if _literal(self) == str(self) else None
        below = _match(pattern, limit)
        return any(found.path.startswith(f"{self}/") for found in below)

    def stat(self) -> StatResult:
        """Returns size and time; of a listed file without asking again.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        if self._found is None:
            if not self._is_there():
                raise _not_found(self)
            self._found = _ask(self, lambda fs: fs.metadata(str(self)))
        return StatResult(
            is_directory=False,
            length=self.size,
            mtime=int(self._found.last_updated_in_seconds),
        )

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yields the files that match; `*` matches no hidden ones."""
        is_hidden_wanted = pattern.rpartition("/")[2].startswith(".")
        for found in _match(f"{_literal(self)}/{pattern}"):
            path = self._listed(found)
            if path is not None and (is_hidden_wanted or path.name[0] != "."):
                yield path

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        """Yields all files below, however deep; no pattern but `*`."""
        if pattern != "*":
            raise NotImplementedError(f"rglob({pattern!r})")
        if not self._has_folders():
            yield from filter(None, map(self._listed, _match(f"{_literal(self)}/**")))
            return
        for found in _match(f"{_literal(self)}/*"):
            path = self._listed(found)
            if path is not None and not path.size and path.is_dir():
                yield from path.rglob(pattern)
            elif path is not None:
                yield path

    def iterdir(self) -> Iterator[RemotePath]:
        """Yields files and folders right below."""
        depth = len(self.parts)
        names = {path.parts[depth] for path in self.rglob("*")}
        for name in sorted(names):
            yield self / name

    def open(self, mode: str = "r", **_: Any) -> Any:
        """Opens a file to read or to write, as bytes or as UTF-8.

        A written file is there, or there anew, when it is closed.

        Raises:
            OSError: Here or later.
        """
        if mode == "rb":
            raw: io.RawIOBase = _Reading(str(self))
            return io.BufferedReader(raw, _BUFFER)
        if mode == "wb":
            if self._has_folders():
                self.unlink(missing_ok=True)
            return io.BufferedWriter(_Writing(str(self)), _BUFFER)
        if mode in ("r", "w"):
            return io.TextIOWrapper(self.open(mode + "b"), "utf-8")
        raise ValueError(f"expected mode r, rb, w or wb, got {mode!r}")

    def write_bytes(self, data: bytes) -> int:
        """Writes a whole file, again where an error may pass."""
        return retrying(lambda: super(RemotePath, self).write_bytes(data))

    def mkdir(
        self, mode: int | None = None, parents: bool = False, exist_ok: bool = False
    ) -> None:
        """Makes a folder, where the file system has any."""
        if self._has_folders() and not self._is_there():
            _ask(self, lambda fs: fs.mkdirs(str(self)))

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes a file."""
        if self._is_there():
            _ask(self, lambda fs: fs.delete([str(self)]))
        elif not missing_ok:
            raise _not_found(self)

    def rmtree(self, missing_ok: bool = False) -> None:
        """Deletes all files below."""
        paths = [str(path) for path in self.rglob("*")]
        if not paths and not missing_ok:
            raise _not_found(self)
        _ask(self, lambda fs: fs.delete(paths))

    def replace(self, target: epath.PathLike) -> RemotePath:
        """Moves a file, in an object store by a copy: the target is never half there.

        Raises:
            FileNotFoundError: If it is not there.
        """
        there = type(self)(target)
        if self._has_folders():
            there.unlink(missing_ok=True)
            _ask(self, lambda fs: fs.rename([str(self)], [str(there)]))
        else:
            # Beam's own `rename` gives up where a whole batch is answered 503.
            _ask(self, lambda fs: fs.copy([str(self)], [str(there)]))
            _ask(self, lambda fs: fs.delete([str(self)]))
        return there

    def rename(self, target: epath.PathLike) -> RemotePath:
        """Moves a file to where none is.

        Raises:
            FileExistsError: If one is.
        """
        if type(self)(target).exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        return self.replace(target)

    def copy(self, dst: epath.PathLike, overwrite: bool = False) -> epath.Path:
        """Copies a file to any file system."""
        target = epath.Path(dst)
        if target.exists() and not overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        target.write_bytes(self.read_bytes())
        return target

    def _is_there(self) -> bool:
        is_bucket = len(self.parts) < 3  # They know no other file of that name.
        return not is_bucket and _ask(self, lambda fs: bool(fs.exists(str(self))))

    def _has_folders(self) -> bool:
        return bool(_system(str(self)).has_dirs())

    def _listed(self, found: FileMetadata) -> RemotePath | None:
        """Returns what was listed, if it is below this path and no mark of a folder."""
        if found.path.endswith("/") or not found.path.startswith(f"{self}/"):
            return None
        path = type(self)(found.path)
        path._found = found
        return path


class _Reading(io.RawIOBase):
    """A file of Beam's that raises OSErrors."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO = _ask(path, lambda fs: fs.open(path, **_AS_IT_IS))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _os_errors(self._path):
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _os_errors(self._path):
            return self._file.seek(offset, whence)

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()


class _Writing(io.RawIOBase):
    """Likewise, to write to."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO = _ask(path, lambda fs: fs.create(path, **_AS_IT_IS))

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        with _os_errors(self._path):
            self._file.write(bytes(content))
        return len(content)

    def close(self) -> None:
        if self.closed:
            return
        super().close()  # First: what fails must not be tried again when collected.
        if not hasattr(self, "_file"):
            return
        try:
            with _os_errors(self._path):
                self._file.close()
        except OSError:
            with contextlib.suppress(Exception):  # Google's writer would try likewise.
                getattr(self._file, "terminate", lambda: None)()
            raise


#: Else Beam decompresses what ends in .gz, and counts bytes in another way.
_AS_IT_IS = {"compression_type": CompressionTypes.UNCOMPRESSED}


def _system(path: str) -> FileSystem:
    """Returns Beam's file system for a path.

    Raises:
        ValueError: If it is not installed.
        OSError: If it cannot be reached.
    """
    scheme = path.partition("://")[0]
    module, extra = _NEEDS.get(scheme, ("apache_beam", ""))
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{scheme}:// needs Beam's extra: pip install 'apache-beam[{extra}]'"
        ) from error
    return FileSystems.get_filesystem(path)


def _ask(path: Any, action: Callable[[FileSystem], T]) -> T:
    """Returns what a file system answers, asked again where an error may pass."""

    def ask() -> T:
        system = _system(str(path))
        with _os_errors(str(path)):
            return action(system)

    return retrying(ask)


def _match(pattern: str, limit: int | None = None) -> list[FileMetadata]:
    def match(system: FileSystem) -> list[FileMetadata]:
        return list(system.match([pattern], [limit])[0].metadata_list)

    try:
        return _ask(pattern, match)
    except FileNotFoundError:  # No such bucket.
        return []


def _literal(path: RemotePath) -> str:
    """Returns a pattern for a path itself: Beam's patterns cannot quote a character."""
    return re.sub(r"[*?\[\]]", "?", str(path))


@contextlib.contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Raises as OSErrors what the clients of file systems raise."""
    try:
        yield
    except Exception as error:
        raise _to_os_error(error, path) from error


def _to_os_error(error: Any, path: str) -> OSError:
    while isinstance(error, BeamIOError) and error.exception_details:
        details = error.exception_details
        error = next(iter(details.values())) if isinstance(details, dict) else details
    if isinstance(error, OSError) and error.errno is not None:
        return error
    # Of Google's, Amazon's and Azure's errors; Beam's batches give the bare number.
    code = error if isinstance(error, int) else getattr(error, "code", None)
    code = code if code is not None else getattr(error, "status_code", None)
    if code is None:  # Of Google's uploads.
        code = getattr(getattr(error, "response", None), "status_code", None)
    number = _ERRNO_OF_HTTP.get(code) if isinstance(code, int) else None
    if number is not None:
        return OSError(number, os.strerror(number), path)
    return OSError(f"{path}: {type(error).__name__}: {error}")


def _not_found(path: RemotePath) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
