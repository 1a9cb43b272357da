"""Requests to a bucket, which counts them."""

import pytest
from apache_beam.io.gcp import gcsio
from etils import epath

from benchmarks.launcher.bucket_server import BUCKET
from stage import artifact
from stage.system import read_in_parallel
from tests import buckets


@pytest.fixture
def server(monkeypatch):
    content = {f"many/{index:03d}": b"%03d" % index for index in range(250)}
    with buckets.serve(monkeypatch, {"empty": b"", **content}) as server:
        yield server


def path(name):
    return epath.Path(f"gs://{BUCKET}/{name}")


@pytest.mark.parametrize(
    ("name", "count", "end"),
    [
        ("many/123", 2, b"23"),
        ("many/123", 3, b"123"),
        ("many/123", 9, b"123"),
        ("empty", 2, b""),
    ],
)
def test_the_end_of_a_file_is_read_by_one_request(server, name, count, end):
    assert path(name).read_end(count) == end
    assert server.counts["read"] == server.counts.total() - server.counts["connections"]
    assert server.counts["read"] == 1


def test_the_end_of_no_file(server):
    with pytest.raises(FileNotFoundError):
        path("none").read_end(2)


def test_a_thread_keeps_its_connection(server):
    found = read_in_parallel(lambda file: file.read_end(1), path("many").glob("*"))
    assert found == [b"%d" % (index % 10) for index in range(250)]
    assert server.counts["read"] == 250
    assert server.counts["connections"] <= 33


def test_beams_client_asks_for_nothing_besides(server):
    assert path("many/001").read_bytes() == b"001"
    assert not server.counts["bucket"]


@pytest.mark.parametrize("name", ["q[1]/f", "q?/f", "q*/f"])
def test_a_name_is_no_pattern_of_what_to_delete(server, name):
    other = path("q1/f")
    for file in (path(name), other):
        file.write_bytes(b"x")
    path(name).unlink()
    assert other.read_bytes() == b"x"
    assert server.objects.list_page("q", "", 9) == (["q1/f"], False)
    with artifact.replacing(path(name)) as temporary:
        temporary.write_bytes(b"y")
    assert server.objects.list_page("q", "", 9)[0] == sorted(["q1/f", name])


def test_a_folder_is_deleted_by_few_requests(server):
    path("many").rmtree()
    assert server.counts["batch"] == 3
    assert server.counts["list"] == 1
    assert server.objects.list_page("", "", 9) == (["empty"], False)


def test_what_cannot_be_deleted_is_an_error(server, monkeypatch):
    monkeypatch.setattr(
        gcsio.GcsIO, "delete_batch", lambda _, paths: [(path, 403) for path in paths]
    )
    with pytest.raises(PermissionError):
        path("many").rmtree()
