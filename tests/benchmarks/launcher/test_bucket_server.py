"""The server, as Google's client sees it."""

import google.cloud.storage
import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials

from benchmarks.launcher.bucket_server import BUCKET, BucketServer, Objects


@pytest.fixture
def bucket(monkeypatch):
    content = {f"a/{index:04d}": b"%d" % index for index in range(2500)}
    with BucketServer(Objects({"b": b"0123456789", **content})) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        credentials = AnonymousCredentials()
        client = google.cloud.storage.Client(project="p", credentials=credentials)
        yield client.bucket(BUCKET)


def test_names_are_listed_by_the_thousand(bucket):
    pages = [list(page) for page in bucket.list_blobs(prefix="a/").pages]
    assert [len(page) for page in pages] == [1000, 1000, 500]
    names = [blob.name for page in pages for blob in page]
    assert names == [f"a/{index:04d}" for index in range(2500)]
    assert [blob.size for blob in bucket.list_blobs(prefix="b")] == [10]


def test_parts_are_read(bucket):
    blob = bucket.blob("b")
    assert blob.download_as_bytes() == b"0123456789"
    assert blob.download_as_bytes(start=2, end=4) == b"234"
    assert blob.download_as_bytes(start=7) == b"789"
    assert blob.download_as_bytes(start=-2) == b"89"
    with pytest.raises(NotFound):
        bucket.blob("none").download_as_bytes()


def test_objects_are_written_copied_and_deleted(bucket):
    with bucket.blob("new").open("wb") as file:
        file.write(b"content")
    bucket.copy_blob(bucket.blob("new"), bucket, "copy")
    assert bucket.blob("copy").download_as_bytes() == b"content"
    bucket.blob("new").delete()
    assert not bucket.blob("new").exists()
    with bucket.client.batch():
        bucket.delete_blob("copy")
    assert not bucket.blob("copy").exists()


def test_a_condition_on_the_generation_holds(bucket):
    blob = bucket.blob("new")
    blob.upload_from_string(b"one", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        bucket.blob("new").upload_from_string(b"two", if_generation_match=0)
    first = blob.generation
    blob.upload_from_string(b"two", if_generation_match=first)
    assert blob.generation != first
    with pytest.raises(PreconditionFailed):
        blob.delete(if_generation_match=first)
    blob.delete(if_generation_match=blob.generation)
    assert bucket.get_blob("new") is None
