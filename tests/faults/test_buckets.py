"""Faults of buckets: missing, or without credentials or permissions."""

import gc
import http.server
import json
import threading

import pytest
from apache_beam.internal.gcp import auth

from stage import artifact, retry
from tests import buckets
from tests.faults import endings, page


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers each HTTP method with a status of its own."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        code = self.server.codes[self.command]
        body = json.dumps({"error": {"code": code, "message": "no"}}).encode()
        self.send_response_only(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def service(monkeypatch):
    """Fake of Google's storage, for a client without credentials."""
    server = http.server.ThreadingHTTPServer(("localhost", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(
        "STORAGE_EMULATOR_HOST", f"http://localhost:{server.server_port}"
    )
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    monkeypatch.setattr(retry, "DELAYS", [0.0])
    yield server
    gc.collect()  # Clients that were given up may have a last word to say.
    server.shutdown()
    server.server_close()


CODES = {
    "bucket that does not exist": 404,
    "bucket without credentials": 401,
    "bucket without read permission": 403,
}


@page.holds(*CODES)
def test_images_in_a_bucket_that_cannot_be_listed(fault, place, service):
    service.codes = {"GET": CODES[fault.name]}
    place.refused(fault, images="folder:gs://no-such-bucket/photos", **place.model)


@page.holds("bucket without write permission")
def test_output_in_a_bucket_that_is_read_only(fault, place, service):
    service.codes = {"GET": 404, "POST": 403}
    place.refused(fault, output="gs://no-such-bucket/out", **place.model)


@page.holds("output in a bucket locked by another job")
def test_two_jobs_on_one_output(fault, place, monkeypatch):
    assert fault.end == endings.FAILED
    output = "gs://b/out"
    with buckets.serve(monkeypatch):
        with artifact.locked(output), pytest.raises(SystemExit) as refusal:
            place.label(output=output, **place.model)
        assert "labeled 3 of 3" in place.label(output=output, **place.model)
    message = str(refusal.value.code)
    assert "\n" not in message
    fault.check(message)
