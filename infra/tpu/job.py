"""One training on a TPU slice: its command, checked, and its files in a bucket."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import pathlib
import shlex
import subprocess
from collections.abc import Sequence
from typing import Any

from classifier.training import presets as teacher_presets
from classifier.training.config import TrainConfig
from classifier.training.devices import AUTO, Devices
from infra.tpu import gcloud
from infra.tpu.slices import TpuSlice
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
COMPLETED = "COMPLETED"
FAILED = "FAILED"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuJob:
    """A training on all hosts of a slice.

    Attributes:
        arguments: Arguments of Python, from `-m` on.
        workdir: Directory of the classifier, in a bucket.
        input_shards: Parts that the files of the images are divided into.
    """

    arguments: tuple[str, ...]
    workdir: str
    input_shards: int

    @property
    def machine_name(self) -> str:
        """Name of a machine that no training with another workdir has."""
        digest = hashlib.sha256(self.workdir.encode()).hexdigest()
        return f"noisy-student-rs-{digest[:8]}"

    @property
    def directory(self) -> str:
        """Directory in the bucket of the code, the logs and the compiled steps."""
        return f"{self.workdir}.machine"

    @property
    def _failures(self) -> str:
        return f"{self.directory}/failed-*"

    def outcome(self) -> str | None:
        """Returns COMPLETED or FAILED; None if the training has not ended."""
        if gcloud.list_objects(f"{self.workdir}/COMPLETED"):
            return COMPLETED
        return FAILED if gcloud.list_objects(self._failures) else None

    def upload(self, scratch: pathlib.Path) -> pathlib.Path:
        """Uploads the code for a new machine; returns the script that it starts with.

        What was reported of an earlier one is removed.
        """
        gcloud.remove_objects(gcloud.list_objects(self._failures))
        gcloud.copy(scratch / "code.tar.gz", f"{self.directory}/code.tar.gz")
        script = scratch / "startup.sh"
        script.write_text(self.startup_script())
        return script

    def startup_script(self) -> str:
        """Returns the shell script that every host runs when it boots."""
        worker = pathlib.Path(__file__).with_name("worker.sh").read_text()
        return (
            f"#!/bin/sh\nMACHINE={shlex.quote(self.directory)}\n"
            f"set -- {shlex.join(self.arguments)}\n{worker}"
        )


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
    flags = importlib.import_module(module).FLAGS
    rest = flags.parse([module, *given])[1:]
    check(not rest, f"expected flags only after {module}, got {' '.join(rest)!r}")
    values = {name: flags.values[name].value for name in flags.values}
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
    )


def _check_places(values: dict[str, Any]) -> None:
    """Raises ValueError if something lies where a new machine cannot see it."""
    check(
        values["workdir"].startswith("gs://"),
        f"expected --workdir=gs://..., which outlives the machine, got "
        f"{values['workdir']}",
    )
    in_tfds = (values["data_dir"] or "").startswith("gs://")
    for name in _IN_BUCKET:
        value = values.get(name) or []
        for spec in [value] if isinstance(value, str) else value:
            if spec.startswith("tfds:"):
                check(in_tfds, f"expected --data_dir=gs://... with --{name}={spec}")
            else:
                check("gs://" in spec, f"expected gs:// in --{name}={spec}")
    for name in _READ_TOO:
        path = values.get(name) or "gs://"
        check(
            "gs://" in path or path.startswith(_DOWNLOADED),
            f"expected gs:// in --{name}={path}",
        )


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
