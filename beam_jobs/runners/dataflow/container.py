"""The container of Dataflow's workers: what is in it, and its name by that."""

from __future__ import annotations

import pathlib
import sys

from stage import artifact

#: Directory of the Dockerfile, of what it copies, and of the packages.
ROOT = pathlib.Path(__file__).parents[3]
#: Files and packages that the container is built from.
FILES = ("Dockerfile", "pyproject.toml", "setup.py", "constraints.txt")
PACKAGES = (
    *("stage", "classifier", "pseudo_label", "beam_jobs"),
    *("teacher", "student", "workflow", "noisy_student"),
)
#: Extras of pyproject.toml that are installed, by the kind of worker.
EXTRAS = {"cpu": "gcp,openvino", "nvidia": "gcp,tensorflow-cuda"}
#: Version of Python of this process, which the workers' must be.
PYTHON_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
#: Hexadecimal digits of the tag.
_TAG_DIGITS = 12


def worker_kind(accelerator: str) -> str:
    """Returns what kind of container workers need, of `EXTRAS`."""
    return accelerator.partition("-")[0] or "cpu"


def image_name(*, project: str, region: str, accelerator: str) -> str:
    """Returns the name of the container that this clone would build.

    Its tag is a hash of the content, and the Python version that submits.

    Raises:
        ValueError: If this is no clone, so that no container can be built from it.
    """
    if not (ROOT / FILES[0]).exists():
        raise ValueError(
            "expected runner.dataflow.image, the workers' container: only a clone of "
            "the repository can build one (make container)"
        )
    return (
        f"{region}-docker.pkg.dev/{project}/noisy-student-rs/"
        f"worker-{worker_kind(accelerator)}:py{PYTHON_MINOR}-{_content_hash()}"
    )


def _content_hash() -> str:
    folders = (path for name in PACKAGES for path in (ROOT / name).rglob("*"))
    files = [ROOT / name for name in FILES] + [
        path for path in folders if path.is_file() and path.parent.name != "__pycache__"
    ]
    parts = (
        part
        for path in sorted(files)
        for part in (str(path.relative_to(ROOT)).encode(), path.read_bytes())
    )
    return artifact.fingerprint(parts)[:_TAG_DIGITS]
