import concurrent.futures
import errno
import json
import os
import re
import threading

import pytest
from etils import epath

from stage import artifact, parts
from stage.parts import Part
from tests.json_files import read_json


def test_a_directory_is_started_resumed_and_completed(tmp_path):
    directory = tmp_path / "new" / "artifact"
    assert artifact.start_or_resume(directory, {"steps": 1}) is False
    assert artifact.start_or_resume(directory, {"steps": 1}) is False
    assert not artifact.is_complete(directory)
    artifact.complete(directory, seconds=1.23)
    assert artifact.start_or_resume(directory, {"steps": 1}) is True
    facts = json.loads((directory / "COMPLETED").read_text())
    assert facts["seconds"] == 1.2
    assert set(facts["versions"]) >= {"python", "tensorflow", "apache-beam"}


def test_a_completed_artifact_looks_up_to_date_to_make(tmp_path):
    artifact.start_or_resume(tmp_path, {})
    artifact.complete(tmp_path, seconds=0)
    completed = tmp_path / "COMPLETED"
    os.utime(completed, (1, 1))
    artifact.start_or_resume(tmp_path, {})
    assert completed.stat().st_mtime > 1


def test_other_settings_are_refused_and_named(tmp_path):
    artifact.start_or_resume(tmp_path, {"optimizer": {"momentum": 0.9}, "seed": 1})
    with pytest.raises(ValueError, match=r"optimizer\.momentum.*0\.9.*0\.5"):
        artifact.start_or_resume(tmp_path, {"optimizer": {"momentum": 0.5}, "seed": 1})
    with pytest.raises(ValueError, match=r"more.*true"):
        artifact.start_or_resume(
            tmp_path, {"optimizer": {"momentum": 0.9}, "seed": 1, "more": True}
        )


def test_all_settings_that_differ_are_named_and_no_others(tmp_path):
    before = {"seed": 1, "model": {"depth": 50, "width": 1.0}, "names": ["a"] * 99}
    artifact.start_or_resume(tmp_path, before)
    now = {"seed": 2, "model": {"depth": 50, "width": 0.5}, "names": ["a"] * 98}
    with pytest.raises(ValueError, match=r"seed.* 1.* 2.*model\.width.*names") as error:
        artifact.start_or_resume(tmp_path, now)
    assert "depth" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "named"),
    [
        ({"labeled": {"content": "a" * 64}}, "labeled"),
        ({"images": {"fingerprint": "a" * 64}}, "images"),
        ({"teachers": ["a" * 64, "c" * 64]}, "teachers"),
    ],
)
def test_fingerprints_that_differ_are_said_in_words(tmp_path, before, named):
    artifact.start_or_resume(tmp_path, before)
    now = json.loads(json.dumps(before).replace("a" * 64, "b" * 64))
    with pytest.raises(ValueError, match=f" {named}: ") as error:
        artifact.start_or_resume(tmp_path, now)
    assert not re.search("a{9}|b{9}|c{9}", str(error.value))


def test_a_setting_without_a_value_is_named_where_it_was_added(tmp_path):
    artifact.start_or_resume(tmp_path, {"seed": 1})
    with pytest.raises(ValueError, match="added") as error:
        artifact.start_or_resume(tmp_path, {"seed": 1, "added": None})
    assert "seed" not in str(error.value)


@pytest.mark.parametrize("content", ["[]", "null", "3"])
def test_a_config_that_is_no_object_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "config.json"))):
        artifact.start_or_resume(tmp_path, {"seed": 1})


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        artifact.start_or_resume(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_parent_must_be_complete(tmp_path):
    with pytest.raises(FileNotFoundError, match="predictions"):
        artifact.require_complete(tmp_path / "none", "predictions")
    artifact.start_or_resume(tmp_path, {})
    with pytest.raises(ValueError, match="COMPLETED"):
        artifact.require_complete(tmp_path, "predictions")


@pytest.mark.parametrize("path", ["nosuch://a/b", "://", "x://"])
def test_a_file_system_that_there_is_not_is_refused(path):
    for use in (
        artifact.reach,
        lambda path: artifact.require_complete(path, "teacher"),
        lambda path: artifact.start_or_resume(path, {}),
    ):
        with pytest.raises(OSError, match=re.escape(path)) as error:
            use(path)
        assert "\n" not in str(error.value)


def test_a_path_with_a_null_byte_is_refused(tmp_path):
    path = f"{tmp_path}/a\0b"
    with pytest.raises(OSError, match=str(tmp_path)), artifact.locked(path):
        pass


def test_files_directories_and_links_to_them_may_be_in_an_artifact(tmp_path):
    directory = tmp_path / "made"
    (directory / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in ("made/x", "made/a/b/y", "elsewhere/z"):
        (tmp_path / path).touch()
    (directory / "up").symlink_to("..")
    (directory / "a" / "self").symlink_to("self")
    (directory / "a" / "nothing").symlink_to("nowhere")
    (directory / "a" / "file").symlink_to("../x")
    for path in (directory, directory / "x", tmp_path / "none", "gs://bucket/a"):
        artifact.check_files(path)
    os.mkfifo(tmp_path / "elsewhere" / "pipe")
    with pytest.raises(ValueError, match=r"/elsewhere/pipe\b"):
        artifact.check_files(directory)
    with pytest.raises(ValueError, match=r"/elsewhere/pipe\b"):
        artifact.check_files(tmp_path / "elsewhere" / "pipe")


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_refused_at_any_depth(tmp_path, target):
    (tmp_path / "a" / "b").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a" / "b" / "link").symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=r"a/b/link\b.*regular file"):
        artifact.check_files(tmp_path / "a")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = epath.Path(tmp_path) / "figures.json"
    artifact.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        artifact.write_json(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["figures.json"]


def test_fingerprints_depend_on_parts_and_not_on_the_order_of_settings():
    assert artifact.fingerprint([b"ab", b"c"]) != artifact.fingerprint([b"a", b"bc"])
    first = artifact.config_fingerprint({"a": 1, "b": [2]})
    assert first == artifact.config_fingerprint({"b": [2], "a": 1})


def test_a_full_disk_is_named_by_the_file_that_did_not_fit(tmp_path):
    path = epath.Path(tmp_path) / "figures.json"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match=r"figures\.json"), artifact.replacing(path):
        raise full


def test_a_missing_directory_is_named_by_the_file(tmp_path):
    path = tmp_path / "missing" / "figures.json"
    with pytest.raises(FileNotFoundError) as raised:
        artifact.write_bytes(path, b"{}")
    assert raised.value.filename == str(path)


def test_an_error_without_a_number_keeps_its_words(tmp_path):
    path = epath.Path(tmp_path) / "figures.json"
    with pytest.raises(OSError, match=r"^it is a directory$"), artifact.replacing(path):
        raise OSError("it is a directory")


def test_a_directory_that_cannot_be_written_is_no_place_to_begin(tmp_path, monkeypatch):
    made = tmp_path / "made"
    with artifact.making(made, {}, started=0.0):
        pass
    monkeypatch.setattr(artifact.os, "access", lambda path, mode: False)
    with pytest.raises(OSError, match=r"cannot write to .*new/er: no permission"):
        artifact.check_startable(tmp_path / "new" / "er")
    artifact.check_startable(made)  # Nothing will be written.


def test_a_file_is_written_atomically(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(KeyError), artifact.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())
    artifact.write_bytes(path, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_no_stage_has_begun_is_refused(tmp_path):
    artifact.check_startable(tmp_path / "new")
    artifact.check_startable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        artifact.check_startable(tmp_path)
    (tmp_path / artifact.CONFIG).touch()
    artifact.check_startable(tmp_path)


@pytest.mark.parametrize("name", ["file", "file/below", "file/far/below"])
def test_a_file_is_no_directory_to_write_to(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="expected a directory, got the file"):
        artifact.check_startable(tmp_path / name)
    with (
        pytest.raises(ValueError, match="expected a directory, got the file"),
        artifact.locked(tmp_path / name),
    ):
        pass
    artifact.check_directory(tmp_path / "new" / "below")


def test_one_setting_may_change_and_no_other(tmp_path):
    def start(config):
        return artifact.start_or_resume(tmp_path, config, may_change="images")

    start({"images": 1, "seed": 2})
    artifact.complete(tmp_path, seconds=0)
    with pytest.raises(ValueError, match=r"images.*1.*2.*seed.*2.*3"):
        start({"images": 2, "seed": 3})
    with pytest.raises(ValueError, match=r"images.*1.*2"):
        artifact.start_or_resume(tmp_path, {"images": 2, "seed": 2})
    assert start({"images": 1, "seed": 2})
    assert start({"images": 2, "seed": 2}) is False
    assert not artifact.is_complete(tmp_path)
    assert read_json(tmp_path / "config.json") == {"images": 2, "seed": 2}


def test_one_process_works_in_a_directory_at_a_time(tmp_path):
    with (
        artifact.locked(tmp_path),
        pytest.raises(ValueError, match=re.escape(str(tmp_path))),
        artifact.locked(tmp_path),
    ):
        pass
    with artifact.locked(tmp_path):
        pass
    with artifact.locked("s3://bucket/directory"):  # It has no lock.
        pass


@pytest.mark.parametrize(
    ("path", "start", "relative"),
    [
        ("/runs/a/labels", "/runs/a/dataset", "../labels"),
        ("runs/a/labels", "runs/a/dataset", "../labels"),
        ("gs://bucket/a/labels", "gs://bucket/a/dataset", "../labels"),
        ("gs://bucket/labels", "/runs/dataset", "gs://bucket/labels"),
        ("gs://bucket/labels", "s3://bucket/dataset", "gs://bucket/labels"),
        ("/runs/labels", "gs://bucket/dataset", "/runs/labels"),
        ("/data/labels", "/runs/dataset", "../../data/labels"),
        ("gs://c/labels", "gs://b/dataset", "../../c/labels"),
    ],
)
def test_a_relative_path_leads_back(path, start, relative):
    assert artifact.relative_path(path, start=start) == relative
    assert artifact.resolve_path(relative, start=start) == path


def test_a_path_that_is_not_relative_stays():
    assert artifact.resolve_path("/data/labels", start="runs/dataset") == "/data/labels"


def test_directories_that_are_moved_together_still_find_each_other():
    relative = artifact.relative_path("/runs/labels", start="/runs/dataset")
    moved = artifact.resolve_path(relative, start="gs://bucket/backup/dataset")
    assert moved == "gs://bucket/backup/labels"


def test_broken_json_is_named(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_json(path)


def test_only_what_a_killed_write_leaves_behind_is_deleted(tmp_path):
    with artifact.replacing(epath.Path(tmp_path) / "shard") as temporary:
        temporary.write_text("whole")
        left_behind = tmp_path / temporary.name
    left_behind.write_text("half")
    for name in (".hidden", ".git.abc", "shard.0123"):
        (tmp_path / name).touch()
    names = {path.name for path in tmp_path.iterdir()}
    artifact.delete_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names - {left_behind.name}


def test_a_directory_may_hold_what_a_killed_start_has_left_behind(tmp_path):
    (tmp_path / f".config.json.{'0' * 32}").touch()
    assert artifact.start_or_resume(tmp_path, {}) is False


def make_complete(directory):
    artifact.start_or_resume(directory, {})
    for name in ("a", "b/c", "checkpoints/x", "events/x", "inside/d"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("content")
    artifact.start_or_resume(directory / "other", {})
    (directory / "up").symlink_to(".")
    (directory / "nothing").symlink_to("nowhere")
    artifact.complete(directory, seconds=0)


def test_a_completed_artifact_says_its_files(tmp_path):
    make_complete(tmp_path)
    files = artifact.read_completed(tmp_path).files
    assert files == {"a": 7, "b/c": 7, "config.json": 3, "inside/d": 7}


@pytest.mark.parametrize("name", ["a", "b/c"])
@pytest.mark.parametrize("content", ["", "longer content", None])
def test_a_completed_artifact_whose_files_are_not_as_they_were(tmp_path, name, content):
    make_complete(tmp_path)
    for gone in ("checkpoints/x", "events/x", "other/config.json"):
        (tmp_path / gone).unlink()
    (tmp_path / "more").touch()
    assert artifact.start_or_resume(tmp_path, {}) is True
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / name))) as error:
        artifact.start_or_resume(tmp_path, {})
    assert "COMPLETED" in str(error.value)


def test_a_completed_artifact_of_an_earlier_version_says_no_files(tmp_path):
    make_complete(tmp_path)
    (tmp_path / "COMPLETED").write_text('{"seconds": 1.0}')
    (tmp_path / "a").unlink()
    assert artifact.start_or_resume(tmp_path, {}) is True


# --- several processes ---------------------------------------------------------
def test_of_many_that_create_a_file_at_once_one_does(tmp_path):
    barrier = threading.Barrier(8)

    def create(number):
        barrier.wait()
        return artifact.create(tmp_path / "file", b"%d" % number)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        created = list(pool.map(create, range(8)))
    assert created.count(True) == 1
    assert (tmp_path / "file").read_bytes() == b"%d" % created.index(True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_created_without_hard_links(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    assert artifact.create(tmp_path / "file", b"1")
    assert not artifact.create(tmp_path / "file", b"2")
    assert (tmp_path / "file").read_bytes() == b"1"


def test_a_link_whose_answer_was_lost_was_made(tmp_path, monkeypatch):
    link = os.link

    def link_twice(*paths):
        link(*paths)
        link(*paths)

    monkeypatch.setattr(os, "link", link_twice)
    assert artifact.create(tmp_path / "file", b"1")


def test_a_directory_that_another_part_begins_meanwhile_is_compared(
    tmp_path, monkeypatch
):
    """It does so between the check and the first file."""
    check = artifact.check_startable

    def check_late(path):
        check(path)
        with monkeypatch.context() as patch:
            patch.setattr(artifact, "check_startable", check)
            artifact.start_or_resume(path, {"seed": 1})

    monkeypatch.setattr(artifact, "check_startable", check_late)
    assert artifact.start_or_resume(tmp_path / "same", {"seed": 1}) is False
    with pytest.raises(ValueError, match=r"seed: was 1, is 2"):
        artifact.start_or_resume(tmp_path / "other", {"seed": 2})


def test_a_directory_that_is_begun_while_it_is_listed_is_startable(
    tmp_path, monkeypatch
):
    iterdir = type(epath.Path(tmp_path)).iterdir

    def begin(path):
        artifact.write_json(path / artifact.CONFIG, {})
        return iterdir(path)

    monkeypatch.setattr(type(epath.Path(tmp_path)), "iterdir", begin)
    artifact.check_startable(tmp_path)


def test_of_two_parts_that_end_at_once_one_completes_and_the_last_one_cleans_up(
    tmp_path,
):
    kept = {artifact.CONFIG, artifact.COMPLETED}
    hidden = tmp_path / f".killed.{'0' * 32}"
    hidden.touch()
    begun = [
        artifact.beginning(tmp_path, {}, part=Part(index, 2), scratch=("list",))
        for index in range(2)
    ]
    assert [part.__enter__() for part in begun] == [False, False]
    (tmp_path / "list").touch()
    completed = [
        artifact.complete(tmp_path, seconds=index, leaving_out=("list",))
        for index in range(2)
    ]
    assert completed == [True, False]
    assert artifact.read_completed(tmp_path).seconds == 0
    assert list(artifact.read_completed(tmp_path).files) == [artifact.CONFIG]
    begun[0].__exit__(None, None, None)
    assert hidden.exists()  # The other one may be writing it.
    begun[1].__exit__(None, None, None)
    assert {path.name for path in tmp_path.iterdir()} == kept
    with artifact.beginning(tmp_path, {}, part=Part(0, 2)) as is_complete:
        assert is_complete


def test_a_part_that_comes_while_the_output_is_cleaned_up_is_not_refused(tmp_path):
    artifact.start_or_resume(tmp_path, {})
    with artifact.locked(tmp_path):
        with (
            pytest.raises(parts.HeldError),
            artifact.beginning(tmp_path, {}, part=Part(0, 2)),
        ):
            pass
        artifact.complete(tmp_path, seconds=0)
        with artifact.beginning(tmp_path, {}, part=Part(0, 2)) as is_complete:
            assert is_complete


def test_unfinished_files_of_other_parts_are_kept(tmp_path):
    names = [f".{name}.{'0' * 32}" for name in ("a", "b", "a.b")]
    names.append(Part(0, 2).lock_name)
    for name in names:
        (tmp_path / name).touch()
    artifact.delete_unfinished(tmp_path, {"a"})
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
    artifact.delete_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())
