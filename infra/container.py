r"""Builds the container of Dataflow's workers from this clone, and pushes it.

  python -m infra.container --set=runner.dataflow.project=my-project \
      --set=runner.dataflow.region=us-central1 --set=runner.dataflow.bucket=my-bucket

Cloud Build builds it, or with --builder=docker this machine. Its name is that by which
a run with the same settings asks for it, see `docs/dataflow.md`.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence

from beam_jobs.runners.dataflow import container
from infra.dataflow import settings
from stage import cli
from stage.flags import CommandFlags
from workflow.chain.runners import container_image
from workflow.run_file.config import DataflowSection

FLAGS = CommandFlags()
_SETTINGS = settings.define(FLAGS)
_BUILDER = settings.define_builder(FLAGS)


def main(argv: Sequence[str]) -> None:
    """Builds and pushes the container."""
    with cli.exit_on_job_error():
        config = settings.read(argv, _SETTINGS.value)
        for words in commands(config.runner.dataflow, _BUILDER.value):
            cli.log(shlex.join(words))
            _run(words)


def commands(section: DataflowSection, builder: str) -> Iterator[list[str]]:
    """Yields the command lines that build and push the container.

    They are for the root of the clone.
    """
    image = container_image(section)
    arguments = {
        "PYTHON_MINOR": container.PYTHON_MINOR,
        "EXTRAS": container.EXTRAS[container.worker_kind(section.accelerator)],
    }
    if builder != settings.CLOUD:
        given = (f"--build-arg={name}={value}" for name, value in arguments.items())
        yield [
            "docker",
            "build",
            "--platform=linux/amd64",
            f"--tag={image}",
            *given,
            ".",
        ]
        yield ["docker", "push", image]
        return
    named = {"IMAGE": image, **arguments}
    # Behind ^;^ they are separated by semicolons, as a value has commas.
    substitutions = ";".join(f"_{name}={value}" for name, value in named.items())
    yield [
        *("gcloud", "builds", "submit", f"--project={section.project}"),
        *("--config=infra/cloudbuild.yaml", f"--substitutions=^;^{substitutions}", "."),
    ]


def _run(words: Sequence[str]) -> None:
    try:
        status = subprocess.run(words, cwd=container.ROOT, check=False).returncode
    except FileNotFoundError:
        raise ValueError(f"expected {words[0]} on the PATH, to build with") from None
    if status:
        sys.exit(f"error: {words[0]} ended with status {status}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
