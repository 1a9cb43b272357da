r"""Copies what a stage has made to a bucket or from there, as a run on Dataflow does.

  python -m workflow.copy_artifact --source=runs/birds/round-1/selection \
      --output=gs://bucket/runs/birds/round-1/selection

Files with the same checksum in both are kept, so that the command goes on where an
earlier one has ended; files that the source does not have are deleted. `COMPLETED` is
copied last, so that it stands for all others. Hidden files, and what only resumed
training reads, are left out.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from stage import artifact, bucket_lock, cli, system
from stage.artifact import COMPLETED, CONFIG
from stage.flags import CommandFlags

if TYPE_CHECKING:
    from beam_jobs.io.google_storage import StoredObject

FLAGS = CommandFlags()
_SOURCE = FLAGS.string("source", None, "Directory that a stage has made.")
_OUTPUT = FLAGS.output("Directory to make.", required=False)
_DELETE = FLAGS.string("delete", None, "Directory in a bucket, to be deleted.")
_BUCKET = "gs://"
#: Bytes of a local file that are read at a time.
_BLOCK = 2**20


def main(argv: Sequence[str]) -> None:
    """Copies or deletes one directory."""
    source, output, unwanted = _SOURCE.value, _OUTPUT.value, _DELETE.value
    with cli.exit_on_job_error():
        cli.check_no_arguments(argv)
        is_copy = unwanted is None
        if is_copy is (source is None) or is_copy is (output is None):
            raise ValueError("expected --source and --output, or --delete alone")
        from beam_jobs.io import filesystems
        from beam_jobs.runners.run import parse_beam_arguments

        filesystems.register(parse_beam_arguments([""], name="copy"))
        if is_copy:
            copy(source, output, log=cli.log_for(output))
        else:
            delete(unwanted)


def copy(source: str, target: str, *, log: cli.Log) -> None:
    """Copies an artifact between this machine and a bucket, unless it is there.

    Raises:
        ValueError: If the source is not complete, not exactly one is in a bucket, or
            the target holds what no stage has begun.
        OSError: If a file cannot be read or written.
    """
    source, target = source.rstrip("/"), target.rstrip("/")
    is_upload = target.startswith(_BUCKET)
    if is_upload == source.startswith(_BUCKET):
        raise ValueError(
            f"expected one directory here and one in gs://, got {source} and {target}"
        )
    completed = artifact.require_complete(source, "--source") / COMPLETED
    mark = artifact.reach(target) / COMPLETED
    if mark.exists() and mark.read_bytes() == completed.read_bytes():
        log("already there")
        return
    pair = _Pair(*((source, target) if is_upload else (target, source)))
    here, there = pair.list_here(), pair.list_there()
    _check_begun(target, there if is_upload else here)
    sizes = here if is_upload else {name: each.size for name, each in there.items()}
    artifact.compare_sizes(source, artifact.read_completed(source).files, sizes)
    same = pair.find_same(here, there)
    wanted = [name for name in sizes if name not in same]
    total = sum(sizes[name] for name in wanted) / 1e6
    log(f"copying {len(wanted):,} files, {total:,.1f} MB")
    # Until all are there, nobody may take the files for those of either artifact.
    mark.unlink(missing_ok=True)
    if is_upload:
        pair.delete_there(there.keys() - here.keys())
    else:
        pair.delete_here(here.keys() - there.keys())
    # First, as a stage itself writes it: it tells what was begun there.
    first = [name for name in wanted if name == CONFIG]
    for names in (first, [name for name in wanted if name != CONFIG], [COMPLETED]):
        system.read_in_parallel(pair.upload if is_upload else pair.download, names)


def delete(directory: str) -> None:
    """Deletes an artifact in a bucket, if it is there: `COMPLETED` first.

    `config.json` is deleted last, so that a command that was killed can be repeated.

    Raises:
        ValueError: If it is in no bucket, no artifact, or another process is writing
            to it.
        OSError: If a file cannot be deleted.
    """
    from beam_jobs.io import filesystems

    directory = directory.rstrip("/")
    if not directory.startswith(_BUCKET):
        raise ValueError(f"expected --delete=gs://, got {directory}")
    with artifact.locked(directory):
        found = filesystems.list_objects(directory).keys() - {bucket_lock.NAME}
        if COMPLETED not in found:
            _check_begun(directory, found)
        marks = {COMPLETED, CONFIG}
        for names in (found & {COMPLETED}, found - marks, found & {CONFIG}):
            _Pair("", directory).delete_there(names)


def _check_begun(directory: str, names: Collection[str]) -> None:
    """Raises ValueError if a directory holds files, but none that a stage begins by."""
    if names and CONFIG not in names:
        raise ValueError(
            f"{directory} is not empty and was made by no stage (no {CONFIG} in it); "
            "expected the directory of one stage"
        )


@dataclasses.dataclass(frozen=True)
class _Pair:
    """A directory of this machine and one in a bucket, with the same files."""

    local: str
    remote: str

    def list_here(self) -> dict[str, int]:
        """Returns the size of each local file by its relative path."""
        found = artifact.list_files(self.local)
        return {name: size for name, size in found.items() if _is_copied(name)}

    def list_there(self) -> dict[str, StoredObject]:
        """Returns each object of the bucket by its relative path."""
        from beam_jobs.io import filesystems

        found = filesystems.list_objects(self.remote)
        return {name: each for name, each in found.items() if _is_copied(name)}

    def find_same(
        self, here: Mapping[str, int], there: Mapping[str, StoredObject]
    ) -> set[str]:
        """Returns the names of files that have the same content in both."""

        def is_same(name: str) -> bool:
            return _checksum(f"{self.local}/{name}") == there[name].crc32c

        names = [n for n, size in here.items() if n in there and there[n].size == size]
        equal = system.read_in_parallel(is_same, names)
        return {name for name, is_equal in zip(names, equal, strict=True) if is_equal}

    def upload(self, name: str) -> None:
        """Copies a file to the bucket."""
        from beam_jobs.io import filesystems

        filesystems.upload(f"{self.local}/{name}", f"{self.remote}/{name}")

    def download(self, name: str) -> None:
        """Copies a file from the bucket."""
        from beam_jobs.io import filesystems

        target = f"{self.local}/{name}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        filesystems.download(f"{self.remote}/{name}", target)

    def delete_there(self, names: Iterable[str]) -> None:
        """Deletes objects of the bucket."""
        from beam_jobs.io import filesystems

        filesystems.delete_objects([f"{self.remote}/{name}" for name in names])

    def delete_here(self, names: Iterable[str]) -> None:
        """Deletes local files, and those that a killed command has left behind."""
        walked = (
            os.path.join(folder, name)
            for folder, _, names_there in os.walk(self.local)
            for name in names_there
        )
        left = [path for path in walked if artifact.is_unfinished(path)]
        for path in (*(f"{self.local}/{name}" for name in names), *left):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _is_copied(name: str) -> bool:
    return artifact.is_content(name) and not name.startswith(".")


def _checksum(path: str) -> str:
    """Returns the checksum of a file as the service writes it."""
    import google_crc32c

    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            checksum = google_crc32c.extend(checksum, block)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


if __name__ == "__main__":
    cli.run(main, FLAGS)
