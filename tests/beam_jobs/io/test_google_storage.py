"""Requests to a bucket, which counts them."""

import http.server
import logging
import math

import pytest
from apache_beam.io.gcp import gcsio
from etils import epath

from beam_jobs.io import google_storage
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


@pytest.fixture
def refusals(server, monkeypatch):
    """Statuses that the next requests are answered with."""
    statuses = []
    handle = http.server.BaseHTTPRequestHandler.parse_request

    def parse(handler):
        is_request = handle(handler)
        if is_request and statuses:
            handler.send_response(statuses.pop(0))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            handler.wfile.flush()
            handler.close_connection = True
            return False
        return is_request

    monkeypatch.setattr(server.RequestHandlerClass, "parse_request", parse)
    return statuses


def test_a_missing_login_is_named_at_once(server, refusals):
    refusals.extend([401] * 2)
    with pytest.raises(PermissionError, match="gcloud auth application-default login"):
        path("many/001").read_bytes()
    assert len(refusals) == 1


def test_a_service_that_does_not_answer_is_mentioned_once_a_minute(
    server, refusals, capsys
):
    refusals.extend([503, 503])
    for handler in logging.getLogger("google.api_core.retry").handlers:
        handler._printed = -math.inf
    assert path("many/001").read_bytes() == b"001"
    assert not refusals
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Google's storage does not answer: Retrying due to 503")


def test_lines_of_a_library_are_printed_once_a_minute(capsys):
    announcer = google_storage._Announcer("it says {}".format)
    for created in (1e9, 1e9 + 59, 1e9 + 61, 1e9 + 62):
        record = logging.LogRecord("x", logging.INFO, "x", 1, "%d", (created,), None)
        record.created = created
        announcer.handle(record)
    said = capsys.readouterr().err.splitlines()
    assert said == ["it says 1000000000", "it says 1000000061"]
