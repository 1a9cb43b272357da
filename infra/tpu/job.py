"""One training on a TPU slice: its command, checked, and its files in a bucket."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import pathlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from classifier.training import presets as teacher_presets
from classifier.training.config import TrainConfig
from classifier.training.devices import AUTO, Devices
from infra.tpu import gcloud
from infra.tpu.slices import TpuSlice
from stage.flags import CommandFlags
from stage.overrides import override_all, paths_of
from stage.validation import check
from student.training import presets as student_presets

ROOT = pathlib.Path(__file__).parents[2]
#: What trains, and where its recipes are.
RECIPES: dict[str, Any] = {
    "teacher.train": teacher_presets,
    "student.train": student_presets,
}
#: Flags for images that a machine reads, which must lie in a bucket.
_IN_BUCKET = ("labeled", "evaluation", "unlabeled", "exclude", "pseudo_labeled")
#: Flags for other things that it reads, and how those begin that are downloaded.
_READ_TOO = ("class_names", "init_from", "compute_of")
_DOWNLOADED = ("hf:", "keras:")
#: A directory in a bucket by one name, without what gcloud takes for a pattern.
_PLAIN_DIRECTORY = re.compile(r"gs://[^\s/*?\[\]#]+(/(?!\.{1,2}(/|$))[^\s/*?\[\]#]+)+")
#: That the training is complete.
COMPLETED = "COMPLETED"
#: What a host reports: that it has booted, the time limit, a failure.
STARTED, STOPPED, FAILED = "started", "stopped", "failed"
#: Begins the name of an object that tells zone and name of a machine.
_PLACE = "at"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuJob:
    """A training on all hosts of a slice.

    Attributes:
        arguments: Arguments of Python, from `-m` on.
        workdir: Directory of the classifier, in a bucket.
        input_shards: Parts that the files of the images are divided into.
        reads: Addresses of what it reads, each of an object or of several.
    """

    arguments: tuple[str, ...]
    workdir: str
    input_shards: int
    reads: tuple[str, ...]

    @property
    def machine_name(self) -> str:
        """Name of a machine that no training with another workdir has."""
        digest = hashlib.sha256(self.workdir.encode()).hexdigest()
        return f"noisy-student-rs-{digest[:8]}"

    @property
    def directory(self) -> str:
        """Directory in the bucket of the code, the logs and the compiled steps."""
        return f"{self.workdir}.machine"

    def reports(self) -> set[str]:
        """Returns what is known of the training: COMPLETED, and what hosts report."""
        found = {word for word, _ in self._reported().values()} - {_PLACE}
        if gcloud.list_objects(f"{self.workdir}/{COMPLETED}"):
            found.add(COMPLETED)
        return found

    def places(self) -> list[tuple[str, str]]:
        """Returns zone and name of machines that were requested for this workdir."""
        found = [rest for word, rest in self._reported().values() if word == _PLACE]
        return [(zone, name) for zone, _, name in (at.partition(".") for at in found)]

    def check_reads(self) -> None:
        """Raises ValueError if there is nothing where it reads."""
        for address in self.reads:
            check(
                gcloud.is_there(address),
                f"expected files at {address}, which the training reads, got none; "
                "nothing was created",
            )

    def distant_buckets(self, zone: str) -> dict[str, str]:
        """Returns the locations of buckets that it uses in other regions than a zone's.

        Buckets whose location gcloud does not tell are left out.
        """
        region = zone.rpartition("-")[0]
        found = {}
        for bucket in sorted({_bucket(each) for each in (self.workdir, *self.reads)}):
            with contextlib.suppress(gcloud.GcloudError):
                found[bucket] = gcloud.bucket_location(bucket)
        return {bucket: at for bucket, at in found.items() if at != region}

    def upload(self, scratch: pathlib.Path, place: tuple[str, str]) -> None:
        """Uploads the code for a new machine, and its zone and name.

        What was reported of an earlier one is removed.
        """
        gcloud.remove_objects(list(self._reported()))
        code = scratch / "code.tar.gz"
        gcloud.copy(code, f"{self.directory}/code.tar.gz")
        note = scratch / "place"
        note.write_text(" ".join(place))
        gcloud.copy(note, f"{self.directory}/{_PLACE}-{'.'.join(place)}")

    def startup_script(self, *, seconds: int, delete: str) -> str:
        """Returns the shell script that every host runs when it boots.

        Args:
            seconds: Seconds after the first boot until the training is told to stop.
            delete: Words of gcloud that delete the machine; none to leave it on.
        """
        worker = pathlib.Path(__file__).with_name("worker.sh").read_text()
        return (
            f"#!/bin/sh\nMACHINE={shlex.quote(self.directory)}\n"
            f"LIMIT={seconds}\nDELETE={shlex.quote(delete)}\n"
            f"set -- {shlex.join(self.arguments)}\n{worker}"
        )

    def _reported(self) -> dict[str, tuple[str, str]]:
        """Returns word and rest of the names of reports, by their addresses."""
        names = {
            address: address.rpartition("/")[2].partition("-")
            for address in gcloud.list_objects(f"{self.directory}/")
        }
        words = (STARTED, STOPPED, FAILED, _PLACE)
        return {
            at: (word, rest) for at, (word, _, rest) in names.items() if word in words
        }


def plan(words: Sequence[str], tpu: TpuSlice) -> TpuJob:
    """Returns the job of a command: the name of its module, then flags.

    The flags for a TPU are added where they are not given.

    Raises:
        ValueError: If the command could not train on this slice.
    """
    module, *given = words or ("",)
    check(
        module in RECIPES,
        f"expected {' or '.join(RECIPES)} and its flags after --, got {module!r}",
    )
    command: CommandFlags = importlib.import_module(module).FLAGS
    hint = f"To see the flags of {module}: python -m {module} --help"
    rest = command.parse([module, *given], hint=hint)[1:]
    check(not rest, f"expected flags only after {module}, got {' '.join(rest)!r}")
    values = {name: command.values[name].value for name in command.values}
    _check_devices(command)
    _check_places(values)
    recipe: TrainConfig = override_all(
        RECIPES[module].find(values["preset"]), values["set"]
    )
    Devices(backend="jax", num_processes=tpu.hosts).input_shards(recipe.input_shards)
    added = ["--backend=jax"]
    if tpu.hosts > 1:
        added.append(f"--distributed={AUTO}")
    if "dtype" not in paths_of(values["set"]):
        added.append("--set=dtype=bfloat16")
    return TpuJob(
        arguments=("-m", module, *given, *added),
        workdir=values["workdir"].rstrip("/"),
        input_shards=recipe.input_shards,
        reads=tuple(dict.fromkeys(_find_reads(values))),
    )


def _bucket(address: str) -> str:
    return "/".join(address.split("/")[:3])


def _check_devices(command: CommandFlags) -> None:
    """Raises ValueError if flags ask for what is no TPU."""
    for name, expected in (("backend", "jax"), ("distributed", AUTO)):
        flag = command.values[name]
        check(
            not flag.present or flag.value == expected,
            f"expected --{name}={expected} or none, which a TPU needs, got "
            f"--{name}={flag.value}",
        )


def _check_places(values: dict[str, Any]) -> None:
    """Raises ValueError if something lies where a new machine cannot see it."""
    workdir = values["workdir"]
    check(
        workdir.startswith("gs://"),
        f"expected --workdir=gs://..., which outlives the machine, got {workdir}",
    )
    check(
        _PLAIN_DIRECTORY.fullmatch(workdir.rstrip("/")) is not None,
        "expected --workdir as a directory of a bucket, such as gs://my-bucket/runs/x, "
        f"without blanks, wildcards, . and .., got {workdir}",
    )
    in_tfds = (values["data_dir"] or "").startswith("gs://")
    for name, spec in _sources(values):
        if spec.startswith("tfds:"):
            check(
                in_tfds or "gs://" in spec,
                f"expected --data_dir=gs://... with --{name}={spec}",
            )
        else:
            check("gs://" in spec, f"expected gs:// in --{name}={spec}")
    for name in _READ_TOO:
        path = values.get(name) or "gs://"
        check(
            "gs://" in path or path.startswith(_DOWNLOADED),
            f"expected gs:// in --{name}={path}",
        )


def _sources(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields name and value of the flags for images."""
    for name in _IN_BUCKET:
        value = values.get(name) or []
        for spec in [value] if isinstance(value, str) else value:
            yield name, spec


def _find_reads(values: dict[str, Any]) -> Iterator[str]:
    """Yields the addresses of what the flags name, whose places are checked."""
    for _, spec in _sources(values):
        if not spec.startswith("tfds:"):
            yield spec[spec.index("gs://") :]
            continue
        # The split may have colons, as train[:50%].
        found = re.match("tfds:(.+?)/?:(?!/)", spec)
        if found is None:
            raise ValueError(f"expected tfds:NAME:SPLIT, got {spec}")
        parent = "" if "gs://" in spec else f"{values['data_dir'].rstrip('/')}/"
        yield f"{parent}{found[1]}/"
    for flag in _READ_TOO:
        path = values.get(flag) or ""
        if "gs://" in path:
            yield path[path.index("gs://") :]


def archive_code(scratch: pathlib.Path) -> str:
    """Writes the last commit's files to `code.tar.gz`; returns a line about them.

    Raises:
        ValueError: If the code is not in a git repository.
    """
    target = scratch / "code.tar.gz"
    try:
        _git("archive", "--format=tar.gz", f"--output={target}", "HEAD")
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"expected a commit of a git repository in {ROOT}") from error
    return f"code of commit {commit}{', without later changes' if changed else ''}"


def _git(*words: str) -> str:
    return subprocess.check_output(
        ["git", *words], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
    ).strip()
