"""gs:// against an emulator of Google's storage, behind a network that fails at times.

Beam and its workers find emulator and credentials through the environment, as they
find them anywhere.
"""

import collections
import concurrent.futures
import hashlib
import http.client
import http.server
import json
import re
import socket
import struct
import threading
import time
import urllib.request

import pyarrow.parquet as pq
import pytest
from apache_beam.internal.gcp import auth
from etils import epath
from gcp_storage_emulator.server import create_server

from beam_jobs.io import filesystems
from classifier.data import shard_manifest
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from stage import artifact, shard_list
from tests import commands
from tests.images import random_images, write_folder, write_records
from tests.json_files import read_json

#: Seconds of a slow answer, far below the clients' time-outs.
SLOW = 1.5


class Network(http.server.ThreadingHTTPServer):
    """Proxy of the emulator that spoils some requests."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("localhost", 0), Passing)
        self.target = target
        self.counts = collections.Counter()
        self.faults = {}
        self.done = []
        self._lock = threading.Lock()

    @property
    def url(self):
        return f"http://localhost:{self.server_address[1]}"

    def spoil(self, **faults):
        """Sets, for each kind of request, the fault of the first, the second, ..."""
        self.counts.clear()
        self.done.clear()
        self.faults = faults

    def handle_error(self, *_):
        pass  # A connection that was reset here, or by a client that gave up.

    def next_fault(self, method, path):
        with self._lock:
            for kind, pattern in KINDS.items():
                if re.match(pattern, f"{method} {path}"):
                    faults = self.faults.get(kind, ())
                    fault = dict(enumerate(faults)).get(self.counts[kind])
                    self.counts[kind] += 1
                    if fault:
                        self.done.append((kind, fault))
                    return fault
        return None


KINDS = {
    "read": r"GET /download/",
    "upload": r"(POST|PUT) /(resumable/)?upload/",
    "batch": r"POST /batch/",
    "copy": r"POST .*/(rewriteTo|copyTo)/",
    "list": r"GET /storage/v1/b/[^/]+/o\?",
    "look": r"GET /storage/v1/b/[^/]+/o/",
}


class Passing(http.server.BaseHTTPRequestHandler):
    def handle_any(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.next_fault(self.command, self.path)
        if fault == "503":
            self.answer(503, {}, b"try again")
            return
        if fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            for end in (self.rfile, self.wfile, self.connection):
                end.close()
            raise ConnectionResetError
        if fault == "slow":
            time.sleep(SLOW)
        connection = http.client.HTTPConnection("localhost", self.server.target)
        connection.request(self.command, self.path, content, dict(self.headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if fault == "half":
            body = body[: len(body) // 2]
        self.answer(answer.status, dict(answer.getheaders()), body)

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        if "content-length" not in map(str.lower, headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def network():
    port = commands.free_port()
    emulator = create_server("localhost", port, in_memory=True, default_bucket="b")
    emulator.start()
    network = Network(port)
    threading.Thread(target=network.serve_forever, daemon=True).start()
    yield network
    network.shutdown()
    network.server_close()
    emulator.stop()


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    """Credentials of a user, with a token that does not expire."""
    user = {
        **dict.fromkeys(("client_id", "client_secret", "refresh_token", "token"), "x"),
        "type": "authorized_user",
        "expiry": "2999-01-01T00:00:00Z",
    }
    path = tmp_path_factory.mktemp("credentials") / "user.json"
    path.write_text(json.dumps(user))
    return path


@pytest.fixture(autouse=True)
def bucket(network, credentials, monkeypatch):
    """A folder in a bucket, whose service is found through the environment."""
    environment = {
        "STORAGE_EMULATOR_HOST": network.url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "GOOGLE_CLOUD_PROJECT": "p",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setitem(commands.ENVIRONMENT, name, value)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", False)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    filesystems.register()
    network.spoil()
    return epath.Path(f"gs://b/{time.monotonic_ns()}")


def upload(network, path, content):
    """Uploads an object without a client library."""
    bucket, _, name = str(path).removeprefix("gs://").partition("/")
    url = f"{network.url}/upload/storage/v1/b/{bucket}/o"
    parts = (
        b"--part\r\nContent-Type: application/json\r\n\r\n",
        json.dumps({"name": name}).encode(),
        b"\r\n--part\r\nContent-Type: application/octet-stream\r\n\r\n",
        content,
        b"\r\n--part--\r\n",
    )
    request = urllib.request.Request(
        f"{url}?uploadType=multipart",
        b"".join(parts),
        {"Content-Type": "multipart/related; boundary=part"},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def upload_tree(network, root, target):
    for path in root.rglob("*"):
        if path.is_file():
            upload(
                network, target / path.relative_to(root).as_posix(), path.read_bytes()
            )


def test_files(bucket):
    started = time.monotonic()
    path = bucket / "a" / "x.txt"
    assert not path.exists() and not bucket.exists()
    path.write_text("one")
    assert time.monotonic() - started < 5  # Looking for credentials took 19 s.
    assert path.exists() and bucket.is_dir() and not path.is_dir()
    assert path.read_text() == "one"
    assert path.stat().length == 3
    artifact.write_json(bucket / "b.json", [1])
    artifact.write_json(bucket / "b.json", [2])
    assert read_json(bucket / "b.json") == [2]
    assert sorted(found.name for found in bucket.iterdir()) == ["a", "b.json"]
    assert [(found.name, found.size) for found in bucket.glob("*.json")] == [
        ("b.json", len("[\n  2\n]\n"))
    ]
    path.unlink()
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.read_text()
    assert not epath.Path("gs://no-such-bucket/x").exists()


# Google's client leaves a connection unclosed that broke within an answer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_images_over_a_network_that_fails(network, bucket, tmp_path):
    images = [*random_images(3), b""]
    write_records(tmp_path / "records", images)
    upload(network, bucket / "records", (tmp_path / "records").read_bytes())
    upload(network, bucket / "photos" / "empty.png", b"")
    upload(network, bucket / "photos" / "small.png", images[0])
    network.spoil(
        read=["503", "reset", "slow", "half"], list=["503"], look=["reset", "slow"]
    )
    source = open_source(f"tfrecord:{bucket}/rec*")
    assert [e.image for e in read_examples(source.reader, source.files)] == images
    source = open_source(f"folder:{bucket}/photos")
    assert [e.image for e in read_examples(source.reader, source.files)] == [
        b"",
        images[0],
    ]
    assert len(network.done) >= 6


@pytest.mark.slow
def test_lists_over_a_network_that_fails(network, bucket, tmp_path):
    write_folder(tmp_path / "photos", [b"%d" % i for i in range(5)])
    source = open_source(f"folder:{tmp_path}/photos")
    network.spoil(upload=["503", "reset"], copy=["503", "slow"], batch=["503", "reset"])
    assert shard_manifest.freeze(source, bucket, allow_new_shards=False) == source
    assert shard_manifest.read_shard(bucket, 0) == source.shards[0]
    assert [path.name for path in bucket.iterdir()] == [shard_list.NAME]
    assert len(network.done) >= 5


def digests(directory, pattern):
    """Returns the hash of each file, but for the one that names where images are."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.glob(pattern), key=str)
        if path.name != artifact.LICENSES
    }


def run_jobs(place, teacher, *beam_flags):
    """Labels, selects and writes the images of a directory."""
    images = f"--images=folder:{place}/photos"
    predictions, selection = f"{place}/predictions", f"{place}/selection"
    commands.run(
        "beam_jobs.label_images",
        images,
        f"--teacher={teacher}",
        "--engine=tensorflow",  # Not the fastest at the moment.
        "--dtype=float32",
        f"--output={predictions}",
        *beam_flags,
    )
    commands.run(
        "beam_jobs.select_labels",
        f"--predictions={predictions}",
        "--confidence_threshold=0",
        "--images_per_class=4",
        f"--output={selection}",
    )
    commands.run(
        "beam_jobs.write_records",
        images,
        f"--predictions={predictions}",
        f"--selection={selection}",
        f"--output={place}/dataset",
    )


@pytest.mark.slow
def test_the_jobs_give_the_same_bytes_as_on_local_files(
    network, bucket, tmp_path, exported
):
    """Images, teacher and outputs in the bucket; two worker processes label."""
    images = random_images(9)
    write_folder(tmp_path / "photos", [*images, b"", b"no image"])
    upload_tree(network, tmp_path / "photos", bucket / "photos")
    upload_tree(network, exported[0], bucket / "teacher")
    network.spoil(
        read=["slow", "503", "reset", None, "half"],
        upload=[None, "503", "reset", None, "slow", "503"],
        batch=["503", None, "reset"],
        copy=["503", "reset"],
        list=["503", None, "reset"],
        look=[None, "503", None, "reset"],
    )
    workers = ("--", "--direct_num_workers=2", "--direct_running_mode=multi_processing")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ended = [
            pool.submit(run_jobs, tmp_path, exported[0]),
            pool.submit(run_jobs, bucket, bucket / "teacher", *workers),
        ]
    for chain in ended:
        chain.result()
    for name, pattern in (
        ("predictions", "predictions-*"),
        ("predictions", "*.json"),
        ("selection", "*.json"),
        ("dataset", "*.json"),
        ("dataset", "*tfrecord*"),
    ):
        local = digests(tmp_path / name, pattern)
        assert local
        assert digests(bucket / name, pattern) == local
    with (bucket / "predictions" / "predictions-00000.parquet").open("rb") as file:
        status = pq.read_table(file)["status"].to_pylist()
    assert status == ["ok"] * 9 + ["empty", "undecodable"]
    assert {kind for kind, _ in network.done} == set(KINDS)
    assert len(network.done) >= 14
