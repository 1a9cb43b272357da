"""Paths on Beam's file systems: gs://, s3://, hdfs:// and so on.

`epath` by itself uses TensorFlow's clients, which support neither emulators nor most
file systems. After `register` it uses Beam's, with Beam's credentials and options, for
all paths but local ones.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import importlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
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

from beam_jobs.io import google_storage
from beam_jobs.io.google_storage import StoredObject
from stage import artifact, bucket_lock
from stage.extras import install_packages
from stage.retry import retrying

T = TypeVar("T")

#: Client of each scheme: a module of it, and the extra of Beam that installs it.
_CLIENTS = {
    "gs": ("google.cloud.storage", "gcp"),
    "s3": ("boto3", "aws"),
    "hdfs": ("hdfs", "hadoop"),
    "azfs": ("azure.storage.blob", "azure"),
}
_BUFFER = 2**20
#: Files to copy in parallel.
_PARALLEL_COPIES = 16
_registered: set[str] = set()


def register(options: PipelineOptions | None = None) -> None:
    """Makes `epath.Path` use Beam's file systems for all their prefixes.

    Workers receive the options, such as `--s3_endpoint_url`, from the job.
    """
    google_storage.prepare()
    google_storage.announce_failures()
    bucket_lock.use_client(lambda: google_storage.open_client(_system("gs://")))
    if options is not None:
        FileSystems.set_options(options)
    schemes = {system.scheme() for system in FileSystem.get_all_subclasses()}
    missing = (schemes | set(_CLIENTS)) - _registered - {None}
    if missing:
        epath.register_path_cls([f"{scheme}://" for scheme in sorted(missing)])(
            RemotePath
        )
        _registered.update(missing)


def fetch(
    path: epath.PathLike, directory: epath.PathLike, *, leave_out: tuple[str, ...] = ()
) -> epath.Path:
    """Returns a local path as it is; copies a remote directory to a local one.

    Raises FileNotFoundError if there is no file; `leave_out` names files and folders
    at the top that are not copied.
    """
    source, target = epath.Path(path), epath.Path(directory)
    if not isinstance(source, RemotePath):
        return source
    names = [str(found).removeprefix(f"{source}/") for found in source.rglob("*")]
    if not names:
        raise _os_error(errno.ENOENT, source)

    def copy(name: str) -> None:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(retrying((source / name).read_bytes))

    wanted = [name for name in names if name.split("/")[0] not in leave_out]
    with concurrent.futures.ThreadPoolExecutor(_PARALLEL_COPIES) as pool:
        list(pool.map(copy, wanted))
    return target


def list_objects(directory: str) -> dict[str, StoredObject]:
    """Returns the objects below a directory in gs:// by their relative path."""
    return _call(directory, lambda fs: google_storage.list_objects(fs, directory))


def upload(source: str, path: str) -> None:
    """Copies a local file to gs://, a large one in parts."""
    _call(path, lambda fs: google_storage.upload(fs, source, path))


def download(path: str, target: str) -> None:
    """Copies an object of gs:// to a local file, which appears when it is complete."""
    with artifact.replacing(epath.Path(target)) as temporary:
        _call(path, lambda fs: google_storage.download(fs, path, str(temporary)))


def delete_objects(paths: Sequence[str]) -> None:
    """Deletes objects of gs://, those that are gone already included."""
    if paths:
        _call(paths[0], lambda fs: google_storage.delete(fs, paths))


class RemotePath(epath.Path):
    """A path on one of Beam's file systems.

    In an object store, a folder exists if there is a file in it. Transient errors are
    retried; errors of a file system are raised as the OSError of a local file.
    """

    _metadata: FileMetadata | None = None  # Set on a path that was listed.

    def __str__(self) -> str:
        scheme, *parts = self.parts or (".",)
        if not scheme.endswith(":"):  # A relative path.
            return "/".join([scheme, *parts])
        return f"{scheme}//{'/'.join(parts)}"

    @property
    def size(self) -> int:
        """Size of a listed file in bytes; -1 for a path that was not listed."""
        return -1 if self._metadata is None else int(self._metadata.size_in_bytes)

    @property
    def mtime_ns(self) -> int:
        """Modification time of a listed file in nanoseconds; -1 if it is unknown."""
        seconds = self._metadata.last_updated_in_seconds if self._metadata else 0
        return int(seconds * 10**9) or -1

    def is_absolute(self) -> bool:
        """Always true: there is no working directory."""
        return True

    def resolve(self, strict: bool = False) -> RemotePath:
        """Returns the path itself: there are no links."""
        return self

    def exists(self) -> bool:
        """Whether the file or folder exists."""
        return self._is_there() or self.is_dir()

    def is_dir(self) -> bool:
        """Whether there is a file below it."""
        pattern = _literal(self) + ("/*" if self._has_folders() else "/**")
        limit = 1 if _literal(self) == str(self) else None
        below = _match(pattern, limit)
        return any(found.path.startswith(f"{self}/") for found in below)

    def stat(self) -> StatResult:
        """Returns size and time, for a listed file those of the listing."""
        if self._metadata is None:
            if not self._is_there():
                raise _os_error(errno.ENOENT, self)
            self._metadata = _call(self, lambda fs: fs.metadata(str(self)))
        return StatResult(
            is_directory=False,
            length=self.size,
            mtime=int(self._metadata.last_updated_in_seconds),
        )

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yields the matching files; `*` does not match hidden ones."""
        is_hidden_wanted = pattern.rpartition("/")[2].startswith(".")
        for found in _match(f"{_literal(self)}/{pattern}"):
            path = self._listed(found)
            if path is not None and (is_hidden_wanted or path.name[0] != "."):
                yield path

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        """Yields all files at any depth; the pattern must be `*`."""
        if pattern != "*":
            raise NotImplementedError(f"expected rglob('*'), got {pattern!r}")
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
        """Yields the files and folders in a folder."""
        depth = len(self.parts)
        names = {path.parts[depth] for path in self.rglob("*")}
        for name in sorted(names):
            yield self / name

    def open(self, mode: str = "r", **_: Any) -> Any:
        """Opens a file to read or to write, as bytes or as UTF-8.

        A written file appears, or is replaced, when it is closed.
        """
        if mode == "rb":
            return io.BufferedReader(_RawReader(str(self)), _BUFFER)
        if mode == "wb":
            if self._has_folders():
                self.unlink(missing_ok=True)
            return io.BufferedWriter(_RawWriter(str(self)), _BUFFER)
        if mode in ("r", "w"):
            return io.TextIOWrapper(self.open(mode + "b"), "utf-8")
        raise ValueError(f"expected mode r, rb, w or wb, got {mode!r}")

    def read_end(self, count: int) -> bytes:
        """Returns the last bytes of a file, at most so many, by few requests."""
        if self.parts[0] == "gs:":
            return _call(self, lambda fs: google_storage.read_end(fs, str(self), count))
        with self.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - count))
            return bytes(file.read())

    def write_bytes(self, data: bytes) -> int:
        """Writes a file, retrying after transient errors."""
        return retrying(lambda: super(RemotePath, self).write_bytes(data))

    def mkdir(
        self, mode: int | None = None, parents: bool = False, exist_ok: bool = False
    ) -> None:
        """Makes a folder if the file system has folders."""
        if self._has_folders() and not self._is_there():
            _call(self, lambda fs: fs.mkdirs(str(self)))

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes a file."""
        if self._is_there():
            self._delete([str(self)])
        elif not missing_ok:
            raise _os_error(errno.ENOENT, self)

    def rmtree(self, missing_ok: bool = False) -> None:
        """Deletes all files at any depth."""
        paths = [str(path) for path in self.rglob("*")]
        if not paths and not missing_ok:
            raise _os_error(errno.ENOENT, self)
        self._delete(paths)

    def replace(self, target: epath.PathLike) -> RemotePath:
        """Moves a file, in an object store by an atomic copy."""
        there = type(self)(target)
        if self._has_folders():
            there.unlink(missing_ok=True)
            _call(self, lambda fs: fs.rename([str(self)], [str(there)]))
        else:
            # Beam's own `rename` gives up after one answer 503 to a whole batch.
            _call(self, lambda fs: fs.copy([str(self)], [str(there)]))
            self._delete([str(self)])
        return there

    def rename(self, target: epath.PathLike) -> RemotePath:
        """Moves a file; raises FileExistsError if the target exists."""
        if type(self)(target).exists():
            raise _os_error(errno.EEXIST, target)
        return self.replace(target)

    def copy(self, dst: epath.PathLike, overwrite: bool = False) -> epath.Path:
        """Copies a file to any file system."""
        target = epath.Path(dst)
        if target.exists() and not overwrite:
            raise _os_error(errno.EEXIST, target)
        target.write_bytes(self.read_bytes())
        return target

    def _delete(self, paths: Sequence[str]) -> None:
        """Deletes files of this file system.

        Beam would take a name in gs:// for a pattern, and delete what it matches.
        """
        delete = google_storage.delete if self.parts[0] == "gs:" else _delete
        _call(self, lambda fs: delete(fs, paths))

    def _is_there(self) -> bool:
        is_bucket = len(self.parts) < 3  # A bucket is not a file.
        return not is_bucket and _call(self, lambda fs: bool(fs.exists(str(self))))

    def _has_folders(self) -> bool:
        return bool(_system(str(self)).has_dirs())

    def _listed(self, found: FileMetadata) -> RemotePath | None:
        """Returns a listed file below this path; None for a folder's marker object."""
        if found.path.endswith("/") or not found.path.startswith(f"{self}/"):
            return None
        path = type(self)(found.path)
        path._metadata = found
        return path


class _RawReader(io.RawIOBase):
    """A file of Beam to read, which raises OSErrors."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO = _call(path, lambda fs: fs.open(path, **_UNCOMPRESSED))

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


class _RawWriter(io.RawIOBase):
    """A file of Beam to write, which raises OSErrors."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO = _call(path, lambda fs: fs.create(path, **_UNCOMPRESSED))

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        with _os_errors(self._path):
            self._file.write(bytes(content))
        return len(content)

    def close(self) -> None:
        if self.closed:
            return
        super().close()  # First, lest a failure is repeated by the garbage collector.
        if not hasattr(self, "_file"):
            return
        try:
            with _os_errors(self._path):
                self._file.close()
        except OSError:
            with contextlib.suppress(Exception):  # Stops Google's writer retrying.
                getattr(self._file, "terminate", lambda: None)()
            raise


#: Without it Beam decompresses files named .gz, whose size is another then.
_UNCOMPRESSED = {"compression_type": CompressionTypes.UNCOMPRESSED}


def _system(path: str) -> FileSystem:
    """Returns Beam's file system; raises ValueError if its extra is not installed."""
    scheme = path.partition("://")[0]
    module, extra = _CLIENTS.get(scheme, ("apache_beam", ""))
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{scheme}:// needs Beam's extra: "
            + install_packages([f"apache-beam[{extra}]"])
        ) from error
    return FileSystems.get_filesystem(path)


def _call(path: Any, action: Callable[[FileSystem], T]) -> T:
    """Returns the result of an action on a file system, retried as in `retrying`."""

    def attempt() -> T:
        system = _system(str(path))
        with _os_errors(str(path)):
            return action(system)

    return retrying(attempt)


def _match(pattern: str, limit: int | None = None) -> list[FileMetadata]:
    """Returns the files that match; none if the bucket does not exist."""

    def match(system: FileSystem) -> list[FileMetadata]:
        return list(system.match([pattern], [limit])[0].metadata_list)

    try:
        return _call(pattern, match)
    except FileNotFoundError:
        return []


def _delete(system: FileSystem, paths: Sequence[str]) -> None:
    system.delete(list(paths))


def _literal(path: RemotePath) -> str:
    """Returns a pattern that matches a path; Beam's patterns have no escapes."""
    return re.sub(r"[*?\[\]]", "?", str(path))


@contextlib.contextmanager
def _os_errors(path: str) -> Iterator[None]:
    """Converts the errors of file systems to OSErrors."""
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
    if str(path).startswith("gs:") and google_storage.needs_login(error):
        return OSError(errno.EACCES, google_storage.NO_LOGIN, str(path))
    number = bucket_lock.ERRNO_OF_HTTP.get(_http_status(error))
    if number is not None:
        return _os_error(number, path)
    return OSError(f"{path}: {type(error).__name__}: {error}")


def _http_status(error: Any) -> Any:
    """Returns the HTTP status of an error of a client, if it has one."""
    if isinstance(error, int):  # From Beam's batches.
        return error
    for name in ("code", "status_code"):  # Clients of Google, Amazon and Azure.
        if getattr(error, name, None) is not None:
            return getattr(error, name)
    # Google's uploads.
    return getattr(getattr(error, "response", None), "status_code", None)


def _os_error(number: int, path: Any) -> OSError:
    return OSError(number, os.strerror(number), str(path))
