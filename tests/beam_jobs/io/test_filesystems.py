"""Paths on Beam's file systems, tested with file systems in memory."""

import dataclasses
import errno
import io
import pickle
import time
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from etils import epath

from beam_jobs.io import filesystems
from classifier.data import opening
from classifier.data.opening import FileError
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from stage import artifact, retry
from tests.images import write_records
from tests.json_files import read_json


class AnswerError(Exception):
    """Error of a client of an object store."""

    def __init__(self, code):
        super().__init__(f"answered {code}")
        self.code = code


class Written(io.BytesIO):
    """File that appears when it is closed, as in an object store."""

    def __init__(self, files, path):
        super().__init__()
        self._place = files, path

    def close(self):
        if not self.closed:
            files, path = self._place
            files[path] = self.getvalue()
        super().close()


class ObjectStore(FileSystem):
    files: ClassVar = {}
    #: Errors to come, each for the next call of a method.
    failures: ClassVar = []
    #: Methods called, with their path.
    calls: ClassVar = []

    @classmethod
    def scheme(cls):
        return "mem"

    def has_dirs(self):
        return False

    def _call(self, name, path):
        self.calls.append((name, path))
        if self.failures and self.failures[0][0] == name:
            raise self.failures.pop(0)[1]

    def exists(self, path):
        self._call("exists", path)
        return path in self.files

    def _list(self, prefix):
        self._call("list", prefix)
        for path in sorted(self.files):
            if path.startswith(prefix):
                yield FileMetadata(path, len(self.files[path]), 17.0)

    def metadata(self, path):
        self._call("metadata", path)
        return FileMetadata(path, len(self.files[path]), 17.0)

    def open(self, path, mime_type=None, compression_type=None):
        assert compression_type == "uncompressed"
        self._call("open", path)
        if path not in self.files:
            raise AnswerError(404)
        return io.BytesIO(self.files[path])

    def create(self, path, mime_type=None, compression_type=None):
        self._call("create", path)
        return Written(self.files, path)

    def copy(self, sources, targets):
        for source, target in zip(sources, targets, strict=True):
            self._call("copy", source)
            if source not in self.files:
                raise BeamIOError("Copy failed", {(source, target): 404})
            self.files[target] = self.files[source]

    def delete(self, paths):
        for path in paths:
            self._call("delete", path)
            self.files.pop(path, None)

    def rename(self, sources, targets):
        raise NotImplementedError("not in a batch")

    def mkdirs(self, path):
        pass

    join = split = size = last_updated = None


class Folders(ObjectStore):
    """A file system with folders: nothing is overwritten, one level is listed."""

    files: ClassVar = {}

    @classmethod
    def scheme(cls):
        return "tree"

    def has_dirs(self):
        return True

    def exists(self, path):
        return path in self.files or any(p.startswith(path + "/") for p in self.files)

    def _list(self, folder):
        depth = folder.rstrip("/").count("/") + 2
        names = {"/".join(path.split("/")[:depth]) for path in self.files}
        for name in sorted(names):
            if name.startswith(folder.rstrip("/") + "/"):
                yield FileMetadata(name, len(self.files.get(name, b"")), 17.0)

    def create(self, path, mime_type=None, compression_type=None):
        if path in self.files:
            raise BeamIOError(f"Path already exists: {path}")
        return Written(self.files, path)

    def rename(self, sources, targets):
        for source, target in zip(sources, targets, strict=True):
            assert target not in self.files
            self.files[target] = self.files.pop(source)

    def mkdirs(self, path):
        if self.exists(path):
            raise BeamIOError(f"Path already exists: {path}")


filesystems.register()
KINDS = {"mem": ObjectStore, "tree": Folders}


@pytest.fixture(params=KINDS)
def root(request, no_waiting):
    kind = KINDS[request.param]
    kind.files.clear()
    kind.failures.clear()
    kind.calls.clear()
    return epath.Path(f"{request.param}://bucket/root")


@pytest.fixture
def no_waiting(monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture
def store(no_waiting):
    for things in (ObjectStore.files, ObjectStore.failures, ObjectStore.calls):
        things.clear()
    return epath.Path("mem://bucket/root")


def test_names(root):
    path = root / "a" / "b.txt"
    assert str(path) == f"{root}/a/b.txt"
    assert str(path.parent) == f"{root}/a"
    assert (path.name, path.suffix) == ("b.txt", ".txt")
    assert epath.Path(str(path)) == path
    assert epath.Path(path) == path
    assert pickle.loads(pickle.dumps(path)) == path
    assert str(path.relative_to(root)) == "a/b.txt"
    assert path.is_absolute()


def test_files_are_written_moved_and_deleted(root):
    path = root / "a" / "file"
    assert not path.exists() and not root.exists() and not root.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("gr\u00fcn")
    assert path.exists() and path.is_file() and not path.is_dir()
    assert root.is_dir() and root.exists() and not root.is_file()
    assert path.read_text() == "gr\u00fcn"
    assert path.read_bytes() == "gr\u00fcn".encode()
    assert path.stat().length == 5
    path.write_bytes(b"again")
    assert path.read_bytes() == b"again"
    moved = path.replace(root / "moved")
    assert moved.read_bytes() == b"again" and not path.exists()
    moved.copy(path).write_text("other")
    assert path.replace(moved).read_text() == "other"
    with pytest.raises(FileExistsError):
        path.write_text("")
        path.rename(moved)
    moved.unlink()
    assert not moved.exists()
    moved.unlink(missing_ok=True)
    for fails in (moved.unlink, moved.stat, moved.read_bytes):
        with pytest.raises(FileNotFoundError, match=str(moved)):
            fails()


def test_listings(root):
    for name in ("b.txt", "a.txt", ".hidden.txt", "deep/er/c.txt", "deep-1/d.txt"):
        (root / name).write_bytes(b"1")
    names = [path.name for path in root.iterdir()]
    assert names == [".hidden.txt", "a.txt", "b.txt", "deep", "deep-1"]
    assert [path.name for path in root.glob("*.txt")] == ["a.txt", "b.txt"]
    assert [path.name for path in root.glob(".*.txt")] == [".hidden.txt"]
    assert [path.name for path in (root / "deep-1").iterdir()] == ["d.txt"]
    found = sorted(str(path).removeprefix(f"{root}/") for path in root.rglob("*"))
    assert found == [".hidden.txt", "a.txt", "b.txt", "deep-1/d.txt", "deep/er/c.txt"]
    (root / "deep").rmtree()
    assert not (root / "deep").exists() and (root / "deep-1").is_dir()
    (root / "deep").rmtree(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="deep"):
        (root / "deep").rmtree()


def test_wildcards_in_names_are_literal(store):
    for name in ("a(2)--/z", "a[1]*?/x", "a1**/y"):
        (store / name).write_bytes(b"1")
    folder = store / "a[1]*?"
    assert [path.name for path in folder.iterdir()] == ["x"]
    assert folder.is_dir() and not (store / "a[2]*?").is_dir()


def test_marker_objects_of_folders_are_not_files(store):
    ObjectStore.files.update({f"{store}/": b"", f"{store}/a/": b""})
    (store / "a" / "x").write_bytes(b"1")
    assert [str(path) for path in store.rglob("*")] == [f"{store}/a/x"]


def test_artifacts(root):
    assert not artifact.start_or_resume(root, {"a": 1})
    artifact.write_json(root / "b.json", [1])
    artifact.write_json(root / "b.json", [2])
    assert read_json(root / "b.json") == [2]
    (root / "c" / "d.json").write_bytes(b"1")
    artifact.complete(root, seconds=1.0)
    assert artifact.start_or_resume(root, {"a": 1})
    sizes = {"b.json": 8, "c/d.json": 1, "config.json": 13}
    assert artifact.read_completed(root).files == sizes
    with pytest.raises(ValueError, match=str(root)):
        artifact.start_or_resume(root, {"a": 2})
    names = {path.name for path in root.iterdir()}
    assert names == {"config.json", "b.json", "c", "COMPLETED"}
    (root / "c" / "d.json").unlink()
    with pytest.raises(ValueError, match=r"c/d\.json"):
        artifact.start_or_resume(root, {"a": 1})


def test_parquet(root):
    table = pa.table({"a": range(100_000)})
    with artifact.replacing(root / "t") as temporary, temporary.open("wb") as file:
        pq.write_table(table, file, row_group_size=1000)
    with (root / "t").open("rb") as file:
        assert pq.read_metadata(file).num_rows == 100_000
        assert pq.ParquetFile(file).read_row_group(7)["a"][0].as_py() == 7000


def test_a_listed_file_knows_its_size(store):
    (store / "file").write_bytes(b"12345")
    (found,) = store.glob("*")
    ObjectStore.calls.clear()
    assert (found.size, found.stat().length, found.stat().mtime) == (5, 5, 17)
    assert not ObjectStore.calls


def test_sources(root, tmp_path):
    write_records(tmp_path / "records", [b"red", b"green"])
    content = (tmp_path / "records").read_bytes()
    for name in ("x/1.tfrecord", "y/2.tfrecord", "y/.3.tfrecord"):
        (root / name).write_bytes(content)
    folder = open_source(f"folder:{root}")
    assert [(file.name, file.size) for file in folder.files] == [
        ("x/1.tfrecord", len(content)),
        ("y/2.tfrecord", len(content)),
    ]
    assert [e.image for e in read_examples(folder.reader, folder.files)] == [
        content
    ] * 2
    source = open_source(f"tfrecord:{root}/y/*.tfrecord")
    (file,) = source.files
    assert (file.name, file.size) == ("2.tfrecord", len(content))
    found = [(e.key, e.image) for e in read_examples(source.reader, source.files)]
    assert found == [(b"2.tfrecord#0", b"red"), (b"2.tfrecord#1", b"green")]
    with pytest.raises(FileNotFoundError, match=f"{root}/z"):
        open_source(f"tfrecord:{root}/z/*")
    with pytest.raises(FileNotFoundError, match=f"{root}/z"):
        open_source(f"folder:{root}/z")


@pytest.mark.parametrize("content", [b"longer than before", b"short", b""])
def test_files_that_have_changed(store, content):
    write = store / "a"
    write.write_bytes(b"as it was")
    source = open_source(f"folder:{store}")
    (file,) = source.files
    assert (file.size, file.mtime_ns) == (9, 17 * 10**9)
    write.write_bytes(content)
    for read in (opening.read_file, lambda file: opening.open_file(file).read()):
        with pytest.raises(FileError) as failure:
            read(file)
        assert failure.value.status == "changed"
    assert opening.read_file(dataclasses.replace(file, size=-1)) == content


def test_files_that_vanish_or_are_forbidden(store):
    for name in "abc":
        (store / name).write_bytes(b"x")
    source = open_source(f"folder:{store}")
    (store / "a").unlink()
    ObjectStore.calls.clear()
    statuses = [e.status for e in read_examples(source.reader, source.files)]
    assert statuses == ["missing", "ok", "ok"]
    ObjectStore.failures.append(
        ("open", BeamIOError("failed", {"b": AnswerError(403)}))
    )
    (found,) = source.reader.examples(source.files[1])
    assert (found.status, found.error) == ("unreadable", "Permission denied")
    assert [name for name, _ in ObjectStore.calls] == ["open"] * 4


@pytest.mark.parametrize(
    "error",
    [
        AnswerError(503),
        AnswerError(429),
        BeamIOError("failed", {"x": 503}),
        BeamIOError("failed", {"x": TimeoutError("slow")}),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        ValueError("no multipart answer"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "method", ["exists", "list", "open", "create", "copy", "delete"]
)
def test_transient_errors_are_retried(store, no_waiting, method, error):
    ObjectStore.failures.extend([(method, error)] * 2)
    artifact.write_json(store / "a.json", 7)
    assert read_json(store / "a.json") == 7
    assert [path.name for path in store.iterdir()] == ["a.json"]
    assert (store / "a.json").exists()
    assert not ObjectStore.failures
    assert no_waiting == list(retry.DELAYS[:2])


def test_a_lasting_error_is_raised_as_an_os_error(store, no_waiting):
    ObjectStore.failures.extend([("open", AnswerError(503))] * 9)
    with pytest.raises(OSError, match=r"mem://bucket/root/a: AnswerError.*503"):
        (store / "a").read_bytes()
    assert no_waiting == list(retry.DELAYS)


def test_fetching_a_tree(root, tmp_path):
    for name in ("export/model", "export/variables/0", "checkpoints/1", "config"):
        (root / name).write_bytes(name.encode())
    got = filesystems.fetch(root, tmp_path / "got", leave_out=("checkpoints",))
    assert got == epath.Path(tmp_path / "got")
    files = [path for path in (tmp_path / "got").rglob("*") if path.is_file()]
    assert {path.relative_to(got).as_posix() for path in files} == {
        *("export/model", "export/variables/0", "config")
    }
    assert all(path.read_text() == str(path.relative_to(got)) for path in files)
    with pytest.raises(FileNotFoundError):
        filesystems.fetch(root / "nothing", tmp_path / "nothing")


def test_local_trees_stay_where_they_are(tmp_path):
    assert filesystems.fetch(tmp_path, tmp_path / "x") == epath.Path(tmp_path)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("path", "extra"), [("s3://b/x", "aws"), ("hdfs://b/x", "hadoop")]
)
def test_a_missing_client_is_named(path, extra, monkeypatch):
    monkeypatch.setitem(
        filesystems._CLIENTS, path.partition(":")[0], ("no_such", extra)
    )
    line = rf"://.* pip install .*'apache-beam\[{extra}\]'"
    for use in (epath.Path(path).exists, epath.Path(path).read_bytes):
        with pytest.raises(ValueError, match=line):
            use()
    with pytest.raises(ValueError, match=line):
        open_source(f"folder:{path}")
