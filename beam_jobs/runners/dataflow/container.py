"""The container of Dataflow's workers: its name, by what is in it."""

from __future__ import annotations

import pathlib
import sys

from stage import artifact

#: Files and packages that the container is built from, beside which the Dockerfile is.
FILES = ("Dockerfile", "pyproject.toml", "setup.py", "constraints.txt")
PACKAGES = (
    *("stage", "classifier", "pseudo_label", "beam_jobs"),
    *("teacher", "student", "workflow"),
)
_ROOT = pathlib.Path(__file__).parents[3]
#: Hexadecimal digits of the tag.
_TAG_DIGITS = 12


def worker_kind(accelerator: str) -> str:
    """Returns what kind of container workers need: cpu or nvidia."""
    return accelerator.partition("-")[0] or "cpu"


def image_name(*, project: str, region: str, accelerator: str) -> str:
    """Returns the name of the container that this clone would build.

    Its tag is a hash of the content, and the Python version that submits.

    Raises:
        ValueError: If this is no clone, so that no container can be built from it.
    """
    if not (_ROOT / FILES[0]).exists():
        raise ValueError(
            "expected runner.dataflow.image, the workers' container: only a clone of "
            "the repository can build one (make container)"
        )
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"{region}-docker.pkg.dev/{project}/noisy-student-rs/"
        f"worker-{worker_kind(accelerator)}:{python}-{_content_hash()}"
    )


def _content_hash() -> str:
    folders = (path for name in PACKAGES for path in (_ROOT / name).rglob("*"))
    files = [_ROOT / name for name in FILES] + [
        path for path in folders if path.is_file() and path.parent.name != "__pycache__"
    ]
    parts = (
        part
        for path in sorted(files)
        for part in (str(path.relative_to(_ROOT)).encode(), path.read_bytes())
    )
    return artifact.fingerprint(parts)[:_TAG_DIGITS]
