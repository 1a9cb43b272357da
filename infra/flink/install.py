"""Downloads the jars of Flink and of Beam's job server for it, once."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence

from infra.flink import closing
from stage.cli import Log

#: Source distribution on PyPI that contains Flink's jars, without its shell scripts.
FLINK = "apache-flink-libraries==1.19.3"
POM = pathlib.Path(__file__).parent / "pom.xml"


@dataclasses.dataclass(frozen=True)
class Jars:
    """Directories of the jars, named after the versions; they need not exist."""

    home: pathlib.Path

    @property
    def flink(self) -> pathlib.Path:
        """Directory of Flink's own jars."""
        return self.home / FLINK.replace("==", "-")

    @property
    def job_server(self) -> pathlib.Path:
        """Directory of the jars of Beam's job server."""
        content = POM.read_bytes() + pathlib.Path(closing.__file__).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return self.home / f"job-server-{digest[:8]}"


def install(home: pathlib.Path, *, log: Log) -> Jars:
    """Returns the jars, after downloading the missing ones."""
    jars = Jars(home.resolve())
    _require("java", "a Java runtime, version 11 or 17, to run Flink")
    if not jars.job_server.exists():
        _require("mvn", "Maven, to download Beam's job server")
    jars.home.mkdir(parents=True, exist_ok=True)
    for directory, fetch, size in (
        (jars.flink, _fetch_flink, "230 MB"),
        (jars.job_server, _fetch_job_server, "150 MB"),
    ):
        if not directory.exists():
            log(f"downloading {directory.name}, {size}")
            with tempfile.TemporaryDirectory(dir=jars.home, prefix=".") as temporary:
                fetch(pathlib.Path(temporary)).rename(directory)
    return jars


def _require(program: str, what: str) -> None:
    if shutil.which(program) is None:
        raise FileNotFoundError(f"expected {what}: there is no `{program}` on the PATH")


def _fetch_flink(directory: pathlib.Path) -> pathlib.Path:
    _run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
        *("--no-binary=:all:", f"--dest={directory}", FLINK),
    )
    (archive,) = directory.glob("*.tar.gz")
    jars = directory / "jars"
    jars.mkdir()
    with tarfile.open(archive) as members:
        for member in members:
            path = pathlib.PurePosixPath(member.name)
            if path.parts[1:3] == ("deps", "lib") and path.suffix == ".jar":
                content = members.extractfile(member)
                if content is not None:
                    (jars / path.name).write_bytes(content.read())
    return jars


def _fetch_job_server(directory: pathlib.Path) -> pathlib.Path:
    jars = directory / "jars"
    _run(
        *("mvn", "--quiet", "--batch-mode", f"--file={POM}"),
        *("dependency:copy-dependencies", f"-DoutputDirectory={jars}"),
    )
    closing.close_servers(jars)
    return jars


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(
            f"`{' '.join(command)}` failed with status {result.returncode}: "
            f"{_reason(result.stderr or result.stdout)}"
        )


def _reason(output: str) -> str:
    lines: Sequence[str] = [line for line in output.splitlines() if "ERROR" in line]
    return (lines or output.strip().splitlines() or ["no reason given"])[0]
