"""Copying artifacts to and from a bucket on this machine."""

import os
import signal
import threading

import pytest
from apache_beam.internal.gcp import auth

from beam_jobs.io import google_storage
from stage import artifact, cli, retry
from tests import buckets, commands
from workflow import copy_artifact

REMOTE = "gs://bucket/runs/birds/round-1/x"
PREFIX = "runs/birds/round-1/x/"
FILES = {
    "rows/0.parquet": b"rows",
    "model.keras": b"weights",
    "bill.json": b"{}",
    "inner/COMPLETED": b"of another artifact",
}
LEFT_OUT = {
    "checkpoints/state": b"state",
    "events/log": b"events",
    "profile/trace": b"trace",
    ".lock": b"{}",
    f"rows/.0.parquet.{'0' * 32}": b"left behind",
}


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "DELAYS", (0.0,))
    with buckets.serve_processes(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "made", FILES | LEFT_OUT)


def make(directory, files, *, seed=1, seconds=1.0):
    """Makes an artifact of some files."""
    artifact.start_or_resume(directory, {"seed": seed})
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    artifact.complete(directory, seconds=seconds)
    return directory


def objects(server, prefix=PREFIX):
    """Returns the contents of the bucket by relative path."""
    names, has_more = server.objects.list_page(prefix, "", 10**6)
    assert not has_more
    return {n.removeprefix(prefix): server.objects.get(n).content for n in names}


def files_of(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def copy(source, target):
    """Copies; returns the lines that it logs."""
    lines = []
    copy_artifact.copy(str(source), str(target), log=lines.append)
    return lines


def call(*flags):
    return cli.call(copy_artifact.main, copy_artifact.FLAGS, [str(f) for f in flags])


def test_a_copy_has_all_files_but_those_of_a_training(bucket, made, tmp_path):
    copy(made, REMOTE)
    expected = {n: c for n, c in files_of(made).items() if n not in LEFT_OUT}
    assert objects(bucket) == expected
    copy(REMOTE, tmp_path / "back")
    assert files_of(tmp_path / "back") == expected


def test_what_is_there_is_not_sent_again(bucket, made):
    copy(made, REMOTE)
    before = bucket.counts["upload"]
    assert copy(made, REMOTE) == ["already there"]
    assert bucket.counts["upload"] == before


@pytest.mark.parametrize("is_upload", [True, False])
def test_config_is_first_and_completed_last(bucket, made, tmp_path, is_upload):
    copy(made, REMOTE)
    order, source, target = [], REMOTE, tmp_path / "back"
    if is_upload:
        source, target = made, f"{REMOTE}2"

    def note(system, *paths):
        order.append(paths[is_upload].rpartition("/x")[2].lstrip("2/"))
        return original(system, *paths)

    name = "upload" if is_upload else "download"
    original = getattr(google_storage, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(google_storage, name, note)
        copy(source, target)
    assert len(order) == len(FILES) + 2
    assert (order[0], order[-1]) == ("config.json", "COMPLETED")


@pytest.mark.parametrize("is_upload", [True, False])
def test_a_copy_of_another_artifact_is_replaced(bucket, tmp_path, is_upload):
    """Files of the same size and another content, and those that are gone, included."""
    old = make(tmp_path / "old", FILES | {"old": b"old"}, seed=1)
    new = make(tmp_path / "new", FILES | {"model.keras": b"WEIGHTS"}, seed=2)
    copy(old, REMOTE)
    if is_upload:
        copy(new, REMOTE)
        assert objects(bucket) == files_of(new)
    else:
        copy(new, f"{REMOTE}2")
        copy(f"{REMOTE}2", old)
        assert files_of(old) == files_of(new)


def test_the_same_config_may_have_another_content(bucket, tmp_path):
    """A network trained twice on a GPU: only what differs is sent."""
    first = make(tmp_path / "first", FILES, seconds=1.0)
    second = make(tmp_path / "second", FILES | {"model.keras": b"WEIGHTS"}, seconds=2.0)
    copy(first, REMOTE)
    before = bucket.counts["upload"]
    copy(second, REMOTE)
    assert objects(bucket) == files_of(second)
    assert bucket.counts["upload"] - before == 2  # With COMPLETED.


@pytest.mark.parametrize("is_upload", [True, False])
def test_a_copy_that_fails_is_not_complete_and_is_gone_on_with(
    bucket, tmp_path, is_upload
):
    files = {f"{index}": bytes([index]) * 9 for index in range(100)}
    made = make(tmp_path / "made", files)
    old = make(tmp_path / "back", {"old": b"old"}, seed=2)
    copy(old, REMOTE)
    source, target = made, REMOTE
    if not is_upload:
        copy(made, REMOTE)
        source, target = REMOTE, tmp_path / "back"
    name = "upload" if is_upload else "download"
    original, lock, budget = getattr(google_storage, name), threading.Lock(), [50]

    def fail_later(system, *paths):
        with lock:
            budget[0] -= 1
            if budget[0] < 0:
                raise PermissionError(13, "taken away", paths[is_upload])
        return original(system, *paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(google_storage, name, fail_later)
        with pytest.raises(PermissionError):
            copy(source, target)
    assert not artifact.is_complete(target)
    (line,) = copy(source, target)
    assert line.startswith("copying 51 files")
    found = objects(bucket) if is_upload else files_of(target)
    assert found == files_of(made)


@pytest.mark.parametrize("is_upload", [True, False])
def test_killed_anywhere_it_is_done_by_the_same_command(bucket, tmp_path, is_upload):
    files = {f"{index % 7}/{index}": os.urandom(2000) for index in range(200)}
    made = make(tmp_path / "made", files)
    source, target = str(made), REMOTE
    if not is_upload:
        copy(made, REMOTE)
        source, target = REMOTE, str(tmp_path / "back")
    kind = "upload" if is_upload else "read"
    for _ in range(2):
        before, ready = bucket.counts[kind], threading.Event()
        count = bucket.count

        def noted(request, before=before, ready=ready, count=count):
            count(request)
            if bucket.counts[kind] >= before + 40:
                ready.set()

        bucket.count = noted
        process = commands.start(
            "workflow.copy_artifact", f"--source={source}", f"--output={target}"
        )
        assert ready.wait(100)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        bucket.count = count
        assert not artifact.is_complete(target)
    assert call(f"--source={source}", f"--output={target}") == 0
    found = objects(bucket) if is_upload else files_of(tmp_path / "back")
    assert found == files_of(made)


def test_a_thousand_files_are_listed_by_pages(bucket, tmp_path):
    made = make(tmp_path / "made", {f"f{i:04}": b"%d" % i for i in range(1000)})
    copy(made, REMOTE)
    assert len(objects(bucket)) == 1002
    before = dict(bucket.counts)
    copy(REMOTE, tmp_path / "back")
    assert files_of(tmp_path / "back") == files_of(made)
    assert bucket.counts["list"] - before["list"] <= 10
    assert bucket.counts["look"] - before["look"] <= 10


def test_a_large_file_is_sent_in_parts(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(google_storage, "_PART", 2**20)
    content = os.urandom(9 * 2**20 + 5)
    made = make(tmp_path / "made", {"large": content})
    before = bucket.counts["upload"]
    copy(made, REMOTE)
    assert bucket.counts["upload"] - before == 2 + 1 + 10  # The others, and its parts.
    assert objects(bucket)["large"] == content
    copy(REMOTE, tmp_path / "back")
    assert (tmp_path / "back/large").read_bytes() == content


@pytest.mark.parametrize("change", ["cut", "gone"])
@pytest.mark.parametrize("is_upload", [True, False])
def test_a_damaged_source_is_named(bucket, made, tmp_path, is_upload, change):
    copy(made, REMOTE)
    source, target = REMOTE, tmp_path / "back"
    if is_upload:
        source, target = made, f"{REMOTE}2"
        path = made / "model.keras"
        path.write_bytes(b"w") if change == "cut" else path.unlink()
    elif change == "cut":
        bucket.objects.put(f"{PREFIX}model.keras", b"w")
    else:
        bucket.objects.delete(f"{PREFIX}model.keras")
    with pytest.raises(ValueError, match=f"{source}/model.keras: expected 7 bytes"):
        copy(source, target)
    assert not artifact.is_complete(target)


def test_what_is_not_complete_is_not_copied(bucket, made):
    (made / "COMPLETED").unlink()
    with pytest.raises(ValueError, match="not complete"):
        copy(made, REMOTE)
    assert not objects(bucket)


def test_a_directory_is_deleted_and_no_other(bucket, made):
    copy(made, REMOTE)
    copy(made, f"{REMOTE}2")
    bucket.objects.put(f"{PREFIX}checkpoints/state", b"state")
    assert call(f"--delete={REMOTE}") == 0
    assert not objects(bucket)
    assert len(objects(bucket, f"{PREFIX[:-1]}2/")) == len(FILES) + 2
    assert call(f"--delete={REMOTE}") == 0


def test_what_no_stage_has_begun_is_left_alone(bucket, made, tmp_path):
    """A folder of one's own, and a directory of several runs."""
    copy(made, REMOTE)
    mine = make(tmp_path / "mine", FILES)
    (mine / "COMPLETED").unlink()
    (mine / "config.json").unlink()
    before = files_of(mine), objects(bucket, "")
    for source, target in ((REMOTE, mine), (made, "gs://bucket/runs")):
        with pytest.raises(ValueError, match="not empty and was made by no stage"):
            copy(source, target)
    for directory in ("gs://bucket/runs", "gs://bucket/runs/"):
        with pytest.raises(ValueError, match="not empty and was made by no stage"):
            copy_artifact.delete(directory)
    assert (files_of(mine), objects(bucket, "")) == before


def test_a_slash_at_the_end_means_the_same(bucket, made, tmp_path):
    copy(f"{made}/", f"{REMOTE}/")
    copy(f"{REMOTE}/", f"{tmp_path}/back/")
    assert objects(bucket) == files_of(tmp_path / "back")
    copy_artifact.delete(f"{REMOTE}/")
    assert not objects(bucket, "")


def test_a_deletion_that_was_killed_can_be_repeated(bucket, made, monkeypatch):
    copy(made, REMOTE)
    deleted = []
    original = google_storage.delete

    def fail_second(system, paths):
        deleted.append(paths)
        if len(deleted) == 2:
            raise PermissionError(13, "taken away", paths[0])
        original(system, paths)

    monkeypatch.setattr(google_storage, "delete", fail_second)
    with pytest.raises(PermissionError):
        copy_artifact.delete(REMOTE)
    assert not artifact.is_complete(REMOTE)
    copy_artifact.delete(REMOTE)
    assert not objects(bucket)


def test_a_directory_that_is_written_to_is_not_deleted(bucket, made):
    copy(made, REMOTE)
    with artifact.locked(REMOTE):
        assert call(f"--delete={REMOTE}") == 1
    assert objects(bucket)["COMPLETED"]


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "gcloud auth application-default login"), (403, "denied"), (404, "No such")],
)
def test_what_google_refuses_is_one_line(
    bucket, made, monkeypatch, capsys, status, words
):
    from google.api_core import exceptions

    def refuse(*_):
        raise exceptions.from_http_status(status, "no")

    monkeypatch.setattr(google_storage, "list_objects", refuse)
    assert call(f"--source={made}", f"--output={REMOTE}") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error


def test_without_a_login_it_is_said_how_to_log_in(bucket, made, monkeypatch, capsys):
    from google.auth.exceptions import DefaultCredentialsError

    def refuse(*_):
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(auth, "get_service_credentials", refuse)
    monkeypatch.setattr(google_storage, "_of_thread", threading.local())
    assert call(f"--source={made}", f"--output={REMOTE}") == 1
    assert "gcloud auth application-default login" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--source=a",),
        ("--output=gs://b/a",),
        ("--source=a", "--output=gs://b/a", "--delete=gs://b/a"),
        ("--source=a", "--output=b"),
        ("--source=gs://b/a", "--output=gs://b/b"),
        ("--delete=a",),
    ],
)
def test_other_pairs_of_directories_are_refused(flags, capsys):
    assert call(*flags) == 1
    assert capsys.readouterr().err.startswith("error: expected ")
