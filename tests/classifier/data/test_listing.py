"""Listing of folders and patterns, on a real file system."""

import errno
import os
import random
import socket

import pytest
from etils import epath

from classifier.data import listing
from classifier.data.listing import list_folder, list_matches
from classifier.data.python_reader import read_examples
from classifier.data.sources import open_source
from stage.status import MISSING


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def named(found):
    return [(file.name, file.size) for file in found]


def test_links_are_followed_except_cycles_and_pipes_are_ignored(tmp_path):
    photos = tmp_path / "photos"
    write(photos, ".cache/x")
    write(tmp_path, "other/linked")
    (photos / "b").symlink_to(tmp_path / "other")
    (photos / "cycle").symlink_to(photos)
    (photos / "broken").symlink_to(tmp_path / "nothing")
    (photos / "itself").symlink_to(photos / "itself")
    os.mkfifo(photos / "pipe")
    found = list_folder(str(photos))
    assert named(found) == [("b/linked", 12), ("broken", -1), ("itself", -1)]
    source = open_source(f"folder:{photos}")
    statuses = [e.status for e in read_examples(source.reader, source.files)]
    assert statuses[:2] == ["ok", MISSING]


def test_folders_that_link_to_each_other(tmp_path):
    write(tmp_path, "a/1", "b/2")
    for number in range(3):
        (tmp_path / "a" / f"to_b{number}").symlink_to(tmp_path / "b")
        (tmp_path / "b" / f"to_a{number}").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert named(list_folder(str(tmp_path))) == [("a/1", 3), ("b/2", 3)]


@pytest.mark.parametrize("seed", range(5))
def test_the_path_to_a_folder_does_not_depend_on_the_order(tmp_path, monkeypatch, seed):
    """Fewest links first, then the shortest path, then the first by name."""
    photos = tmp_path / "photos"
    write(photos, "z/real/1")
    write(tmp_path, "other/sub/2", "far/3")
    for link in ("c", "b", "y/b"):
        (photos / link).parent.mkdir(exist_ok=True)
        (photos / link).symlink_to(tmp_path / "other")
    (photos / "0").symlink_to(photos / "z")
    (tmp_path / "other" / "far").symlink_to(tmp_path / "far")
    (photos / "z" / "real" / "deep").symlink_to(tmp_path / "far")
    scandir = os.scandir

    class Shuffled:
        def __init__(self, path):
            self.entries = list(scandir(path))
            random.Random(seed).shuffle(self.entries)

        def __enter__(self):
            return self.entries

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Shuffled)
    names = [file.name for file in list_folder(str(photos))]
    assert names == ["b/sub/2", "z/real/1", "z/real/deep/3"]


def make_what_is_no_file(folder):
    os.mkfifo(folder / "pipe")
    (folder / "to_pipe").symlink_to(folder / "pipe")
    (folder / "to_zero").symlink_to("/dev/zero")
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    return server


def test_what_is_no_file_is_not_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # A socket's path must be short.
    write(tmp_path, "image")
    with make_what_is_no_file(tmp_path):
        assert named(list_folder(str(tmp_path))) == [("image", 5)]
        assert named(list_matches(f"{tmp_path}/*")) == [("image", 5)]
        assert list_matches(f"{tmp_path}/*pipe") == []
        assert list_matches("/dev/zero") == []


def test_files_have_their_times(tmp_path):
    write(tmp_path, "a")
    os.utime(tmp_path / "a", ns=(0, 1_234_567_890_123_456_789))
    expected = {"size": 1, "mtime_ns": 1_234_567_890_123_456_789}
    for (file,) in (list_folder(str(tmp_path)), list_matches(f"{tmp_path}/*")):
        assert {"size": file.size, "mtime_ns": file.mtime_ns} == expected
    assert listing.find_state(f"{tmp_path}/a") == expected
    assert listing.find_state(f"{tmp_path}/b") == {}


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    write(tmp_path, "a/1", "b/2", "c/3")
    scandir = os.scandir

    def forbid(path):
        if path.endswith("b"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbid)
    with pytest.raises(PermissionError, match="/b"):
        list_folder(str(tmp_path))


@pytest.mark.parametrize("has_sizes", [True, False])
def test_other_file_systems_list_the_same(tmp_path, monkeypatch, has_sizes):
    """`epath`'s listing of a local folder is the one of `os.scandir`."""
    write(tmp_path, "b/2", "b/c/3", "1", ".hidden", ".cache/4")
    files = [(file.path, file.name) for file in list_folder(str(tmp_path))]
    assert [name for _, name in files] == ["1", "b/2", "b/c/3"]
    monkeypatch.setattr(listing, "_is_remote", lambda path: True)
    if has_sizes:  # Like Beam's file systems, where `rglob` returns files only.
        path_type = type(epath.Path(tmp_path))
        monkeypatch.setattr(path_type, "size", 7, raising=False)
        monkeypatch.setattr(
            path_type,
            "rglob",
            lambda top, _: (path / n for path, _, names in top.walk() for n in names),
        )
    found = list_folder(str(tmp_path))
    assert [(file.path, file.name) for file in found] == files
    assert {file.size for file in found} == ({7} if has_sizes else {-1})


def test_patterns_may_be_relative_and_do_not_match_folders(tmp_path, monkeypatch):
    write(tmp_path, "x/1", "two", ".hidden")
    monkeypatch.chdir(tmp_path)
    (file,) = list_matches("*")
    assert (file.path, file.name, file.size) == ("two", "two", 3)
    (file,) = list_matches("x/1")
    assert (file.path, file.name) == ("x/1", "1")


def test_names_are_relative_to_the_deepest_common_folder(tmp_path):
    write(tmp_path, "a/x/1", "a/x/2", "a/y/1", "b/x/1")
    found = list_matches(f"{tmp_path}/*/x/*")
    assert [file.name for file in found] == ["a/x/1", "a/x/2", "b/x/1"]
    assert [file.name for file in list_matches(f"{tmp_path}/a/*/1")] == ["x/1", "y/1"]
    assert [file.name for file in list_matches(f"{tmp_path}/a/x/*")] == ["1", "2"]
    assert list_matches(f"{tmp_path}/c/*") == []


def test_unsuitable_patterns_and_file_systems_are_refused():
    with pytest.raises(ValueError, match=r"'/no/\*\*'"):
        list_matches("/no/**")
    with pytest.raises(ValueError, match="ftp://"):
        listing.is_folder("ftp://host/x")
