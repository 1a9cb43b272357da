"""Measures what the launcher of a labeling job does with many shards in a bucket.

  python -m benchmarks.launcher
  python -m benchmarks.launcher --shards=2000 --latency=0.05

All that `beam_jobs.label_images` does besides its pipeline, with a source of so many
files, all of them labeled: before it submits the job again, in a look at the progress,
and after the job's end. Then what the stages after it do first. The bucket is a server
on this machine that answers each request after `--latency`. Each part with its seconds
and its requests by kind: `list` a page of a thousand names, `look` at an object, `read`
a part of one. `connections` are those opened, each of which takes further round trips
in a real network. The last line is all figures as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.measuring import peers
from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_SHARDS = FLAGS.integer("shards", 65_000, "Number of shards.", lower_bound=1)
_LATENCY = FLAGS.number(
    "latency", 0.05, "Seconds until the bucket answers.", lower_bound=0
)
_KINDS = ("list", "look", "bucket", "read", "upload", "copy", "batch", "connections")


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    cli.load_tensorflow()
    from benchmarks.launcher import inputs
    from benchmarks.launcher.bucket_server import BucketServer, Objects

    objects = Objects(inputs.make_objects(inputs.make_job(_SHARDS.value)))
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        BucketServer(objects, latency=_LATENCY.value) as server,
    ):
        environment = _environment(server.url, pathlib.Path(directory))
        for parts in ("finished", "opened"):
            task = {"shards": _SHARDS.value, "parts": parts}
            found[parts] = _run(task, environment)
            for line in _table(found[parts]):
                cli.log(line)
    cli.log(json.dumps({"shards": _SHARDS.value, "latency": _LATENCY.value, **found}))


def _environment(url: str, directory: pathlib.Path) -> dict[str, str]:
    """Returns an environment in which Google's clients find the server."""
    secrets = ("client_id", "client_secret", "refresh_token", "token")
    user = {
        **dict.fromkeys(secrets, "x"),
        "type": "authorized_user",
        "expiry": "2999-01-01T00:00:00Z",
    }
    path = directory / "user.json"
    path.write_text(json.dumps(user))
    return {
        **os.environ,
        "STORAGE_EMULATOR_HOST": url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(path),
        "GOOGLE_CLOUD_PROJECT": "p",
    }


def _run(task: dict[str, Any], environment: dict[str, str]) -> Any:
    command = peers.command("benchmarks.launcher.parts", task)
    output = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def _table(found: dict[str, Any]) -> Iterator[str]:
    yield f"{'':32}{'seconds':>9}" + "".join(f"{kind:>12}" for kind in _KINDS)
    for name, figures in found["parts"].items():
        counts = "".join(f"{figures.get(kind, 0):12,}" for kind in _KINDS)
        yield f"{name:32}{figures['seconds']:9,.1f}" + counts
    yield f"{'MB at the start':32}{found['start_mb']:9,.0f}"
    yield f"{'MB at the peak':32}{found['peak_mb']:9,.0f}"


if __name__ == "__main__":
    cli.run(main, FLAGS)
