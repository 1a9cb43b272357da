import io
import pathlib
import subprocess
import tarfile

import pytest

from infra.flink import install
from infra.flink.install import Jars


def add_program(directory, name):
    (directory / name).write_text("#!/bin/sh\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Directory of the only programs on the PATH; java is one."""
    directory = tmp_path / "bin"
    directory.mkdir()
    add_program(directory, "java")
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.mark.parametrize("program", ["java", "mvn"])
def test_installing_names_the_program_that_is_missing(tmp_path, programs, program):
    (programs / program).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match=f"`{program}`"):
        install.install(tmp_path / "home", log=lambda line: None)
    assert not (tmp_path / "home").exists()


def test_installed_jars_are_not_downloaded_again(tmp_path, programs):
    jars = Jars(tmp_path)
    jars.flink.mkdir()
    jars.job_server.mkdir()
    lines = []
    assert install.install(tmp_path, log=lines.append) == jars
    assert not lines


def write_distribution(directory):
    """Writes what pip downloads: jars, beside files that are not needed."""
    names = ("deps/lib/a.jar", "deps/lib/b.txt", "deps/opt/c.jar", "deps/lib/d.jar")
    with tarfile.open(directory / "flink.tar.gz", "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"flink-1/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))


def test_missing_jars_are_downloaded(tmp_path, programs, monkeypatch):
    add_program(programs, "mvn")

    def run(command, **_):
        if "pip" in command:
            (to,) = [word for word in command if word.startswith("--dest=")]
            write_distribution(pathlib.Path(to.removeprefix("--dest=")))
        else:
            (to,) = [word for word in command if word.startswith("-DoutputDirectory=")]
            jars = pathlib.Path(to.removeprefix("-DoutputDirectory="))
            jars.mkdir()
            (jars / "server.jar").touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    closed = []
    monkeypatch.setattr(install.closing, "close_servers", closed.append)
    lines = []
    jars = install.install(tmp_path / "home", log=lines.append)
    assert {path.name for path in jars.flink.iterdir()} == {"a.jar", "d.jar"}
    assert (jars.flink / "d.jar").read_text() == "deps/lib/d.jar"
    assert [path.name for path in jars.job_server.iterdir()] == ["server.jar"]
    assert len(closed) == 1
    assert len(lines) == 2
    assert {path.name for path in jars.home.iterdir()} == {
        *(jars.flink.name, jars.job_server.name)
    }


def test_a_failed_download_is_named_and_leaves_nothing(tmp_path, programs, monkeypatch):
    add_program(programs, "mvn")
    failed = subprocess.CompletedProcess([], 3, "", "note\nERROR: no such version\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(OSError, match="status 3: ERROR: no such version"):
        install.install(tmp_path / "home", log=lambda line: None)
    assert not list((tmp_path / "home").iterdir())
