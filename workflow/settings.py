r"""Compares settings and images with those that a run was begun with, as make does.

  python -m workflow.settings --run=runs/birds LABELED=folder:birds/labeled SEED=1

RUN/settings holds them; this command writes it while the run has made nothing else.
Names, sizes and times of the files of each source are compared too, unless they are in
RUN/data, which the run makes, on another file system such as gs://, where listing costs
requests, or gone, so that a finished run can be reported on without them. The stages
that read them compare them in any case. Refuses presets and flags that a later stage
would refuse. Does not import TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from beam_jobs import select_labels
from classifier.data import listing
from classifier.data.examples import File
from classifier.training import presets as teacher_presets
from classifier.training.config import refuse_consistency
from stage import artifact, cli, flags, typed_json
from stage.flags import CommandFlags, lies_in_source
from stage.overrides import override_all
from stage.system import is_within
from student import train as student_train
from student.training import presets as student_presets
from student.training.config import StudentConfig, check_assignments
from teacher import probe as teacher_probe
from teacher import train as teacher_train
from workflow.choice.stored import AUTO, SETTINGS, has_begun

FLAGS = CommandFlags()
_RUN = FLAGS.run("Directory of a run.")
_DATA_DIR = FLAGS.data_dir()

#: Variables that name images or a file of class names.
SOURCES = ("LABELED", "EVALUATION", "IMAGES", "CALIBRATION", "EXCLUDE", "CLASS_NAMES")
#: Kinds of sources that name files by a pattern.
_PATTERNS = ("tfrecord", "webdataset")
_KINDS = ("tfds", "folder", *_PATTERNS)
#: What separates several sources, whose paths may have blanks.
_BETWEEN_SOURCES = re.compile(r" +(?=(?:tfds|folder|tfrecord|webdataset):)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Content of `RUN/settings`.

    Attributes:
        variables: Value of each variable of make.
        files: Fingerprint of the files of each of `SOURCES` that were listed.
    """

    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    files: dict[str, str] = dataclasses.field(default_factory=dict)


def main(argv: Sequence[str]) -> None:
    """Compares, and writes what is not known yet."""
    with cli.exit_on_user_error():
        run = epath.Path(_RUN.value)
        path = run / SETTINGS
        variables = dict(text.partition("=")[::2] for text in argv[1:])
        _check_flags(variables)
        _check_run(run, variables)
        before = read(path, variables)
        _check_variables(path, before.variables, variables)
        listed = list_files(variables, run=run, data_dir=_DATA_DIR.value or "")
        missing = [name for name, digest in listed.items() if not digest]
        if missing and not before.variables:
            raise ValueError(_explain_missing(missing[0], variables[missing[0]]))
        files = {name: digest for name, digest in listed.items() if digest}
        _check_files(path, before.files, files)
        now = Settings(
            variables={**before.variables, **variables}, files={**before.files, **files}
        )
        if now != before:
            artifact.check_directory(run)
            run.mkdir(parents=True, exist_ok=True)
            artifact.write_json(path, dataclasses.asdict(now))


def _check_flags(variables: Mapping[str, str]) -> None:
    """Raises ValueError for presets and flags that a later stage would refuse."""
    commands: list[Any] = [
        (("PRESET", "TEACHER_FLAGS"), teacher_train, teacher_presets),
        (("STUDENT_PRESET", "STUDENT_FLAGS"), student_train, student_presets),
    ]
    for (name, _), _, presets in commands:
        _check_preset(name, variables.get(name, ""), presets)
    if variables.get("FEATURES"):
        del commands[0]  # The teacher is a probe.
        with _naming(["TEACHER_FLAGS"], variables):
            teacher_probe.FLAGS.check(variables.get("TEACHER_FLAGS", "").split())
    for names, command, presets in commands:
        with _naming(names, variables):
            preset, words = (variables.get(name, "") for name in names)
            given = command.FLAGS.check([f"--preset={_known(preset)}", *words.split()])
            recipe = override_all(
                presets.find(given["preset"].value), given["set"].value
            )
            if isinstance(recipe, StudentConfig):
                check_assignments(recipe, given["set"].value)
            elif variables.get("CONSISTENCY") == "off":
                refuse_consistency(given["set"].value, "CONSISTENCY=off")
    with _naming(["SELECTION_FLAGS"], variables):
        select_labels.FLAGS.check(variables.get("SELECTION_FLAGS", "").split())


def _check_preset(name: str, preset: str, presets: Any) -> None:
    """Raises ValueError if a variable names a preset that there is not."""
    try:
        presets.find(_known(preset))
    except ValueError as error:
        raise ValueError(f"{name}={preset}: {error}, or {AUTO}") from error


def _known(preset: str) -> str:
    """Returns a preset whose settings are those of the one that make is given."""
    return "tiny" if preset in ("", AUTO) else preset


def _check_run(run: epath.Path, variables: Mapping[str, str]) -> None:
    """Raises ValueError if the run lies in a folder of images."""
    for name in SOURCES:
        for spec in _BETWEEN_SOURCES.split(variables.get(name, "").strip()):
            if lies_in_source(run, spec):
                raise ValueError(
                    f"RUN={run} lies in {name}={spec}, and would be read with it; use "
                    "another RUN="
                )


@contextlib.contextmanager
def _naming(names: Iterable[str], variables: Mapping[str, str]) -> Iterator[None]:
    """Puts variables before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        given = " ".join(f"{name}={variables.get(name, '')}" for name in names)
        raise ValueError(f"{given}: {error}") from error


def read(path: epath.Path, names: Iterable[str]) -> Settings:
    """Returns the settings that a run was begun with, as far as they are known.

    None are while nothing else was made, as after a typing error. `names` are those of
    the variables, which a file of an earlier version holds in one line.
    """
    if not path.exists() or not has_begun(path.parent):
        return Settings()
    content = typed_json.read_bytes(path)
    if not content.startswith(b"LABELED="):
        return typed_json.parse(content, Settings, str(path))
    _, *parts = re.split(rf"(?:^| )({'|'.join(names)})=", os.fsdecode(content).strip())
    return Settings(variables=dict(zip(parts[::2], parts[1::2], strict=True)))


def list_files(
    variables: Mapping[str, str], *, run: epath.Path, data_dir: str
) -> dict[str, str]:
    """Returns the fingerprint of the files of each source that can be compared.

    It is "" if a source has no files.
    """
    others = {variables[name] for name in SOURCES[:-2] if name in variables}
    found = {}
    for name in SOURCES:
        value = variables.get(name, "").strip()
        if value and name == "CLASS_NAMES":
            value = f"tfrecord:{glob.escape(value)}"
        specs = _BETWEEN_SOURCES.split(value)
        if name == "EXCLUDE":  # By default, these are the other images.
            specs = [spec for spec in specs if spec not in others]
        listed = [_list(spec, run, data_dir) for spec in specs if spec]
        files = [part for part in listed if part is not None]
        if files and len(files) == len(listed):
            found[name] = _fingerprint(files) if all(files) else ""
    return found


def _fingerprint(listed: Iterable[Iterable[File]]) -> str:
    return artifact.fingerprint(
        os.fsencode(f"{file.name}\0{file.size} {file.mtime_ns}")
        for files in listed
        for file in files
    )


def _explain_missing(name: str, value: str) -> str:
    kinds = {spec.partition(":")[0] for spec in _BETWEEN_SOURCES.split(value) if spec}
    if name != "CLASS_NAMES" and kinds - set(_KINDS):
        return f"expected {name}= as {flags.SOURCES}, got {value}"
    return f"{name}={value}: no such files"


def _list(spec: str, run: epath.Path, data_dir: str) -> list[File] | None:
    """Returns the files of a source; None if they cannot be compared."""
    kind, _, path = spec.partition(":")
    find = listing.list_matches if kind in _PATTERNS else listing.list_folder
    if kind == "tfds":
        path = re.sub(":[^/]*$", "", path)
        if "/" not in path or not os.path.isdir(path):
            path = os.path.join(data_dir, path)
    if "://" in path or is_within(path, run / "data"):
        return None
    try:
        return find(path)
    except (OSError, ValueError):
        # TFDS also looks elsewhere.
        return None if kind == "tfds" else []


def _check_variables(
    path: epath.Path, before: Mapping[str, str], now: Mapping[str, str]
) -> None:
    """Raises ValueError with both values of the variables that differ, if any do."""
    differ = [name for name in before if before[name] != now.get(name, before[name])]
    if differ:
        expected, got = (
            ", ".join(f"{name}={values[name]}" for name in differ)
            for values in (before, now)
        )
        raise ValueError(
            f"{path.parent} was begun with {expected}, got {got}; use the same "
            "settings, or another RUN=; if no finished stage used what differs, delete "
            f"{path}"
        )


def _check_files(
    path: epath.Path, before: Mapping[str, str], now: Mapping[str, str]
) -> None:
    """Raises ValueError with the variables of sources that changed, if any did."""
    differ = [name for name in now if now[name] != before.get(name, now[name])]
    if differ:
        names = " and ".join(f"{name}=" for name in differ)
        raise ValueError(
            f"the files of {names} have changed since {path.parent} was begun (names, "
            "sizes or times); use another RUN=; if no finished stage has read them, or "
            f"only their times differ, delete {path}"
        )


if __name__ == "__main__":
    cli.run(main, FLAGS)
