r"""Starts and stops a Flink cluster on this machine, for the Beam jobs to run on.

  python -m infra.flink up
  python -m beam_jobs.label_images --images=folder:/data/unlabeled \
      --teacher=runs/photos/teacher --output=runs/photos/predictions \
      -- --runner=PortableRunner --job_endpoint=localhost:8099 \
      --environment_type=EXTERNAL --environment_config=localhost:50001 --parallelism=2
  python -m infra.flink down

`up` downloads the jars if needed; `install` does only that. If a process was killed,
another `up` starts it again.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from infra.flink import cluster
from infra.flink.install import install
from stage import cli
from stage.flags import CommandFlags, FlagGroup

FLAGS = CommandFlags()
_HOME = FLAGS.string(
    "home", ".venv/flink", "Directory of the jars of Flink and of Beam's job server."
)
_RUN = FLAGS.run(
    "Directory of the cluster's logs and files; HOME/run if not given.", required=False
)
_PORTS = FlagGroup(
    web=FLAGS.integer("web_port", 8081, "Port of Flink's web page."),
    rpc=FLAGS.integer("rpc_port", 6123, "Port of Flink's job manager."),
    jobs=FLAGS.integer("job_port", 8099, "Port of Beam's job server."),
    workers=FLAGS.integer("worker_port", 50001, "Port of the worker pool."),
)
_ACTIONS = ("install", "up", "down")


def main(argv: Sequence[str]) -> None:
    """Performs the action that the command line names."""
    log = cli.log_for("flink")
    with cli.exit_on_user_error():
        action = " ".join(argv[1:])
        if action not in _ACTIONS:
            raise ValueError(f"expected one of {', '.join(_ACTIONS)}, got {action!r}")
        home = pathlib.Path(_HOME.value)
        directory = pathlib.Path(_RUN.value) if _RUN.value else home / "run"
        if action == "down":
            log("down" if cluster.down(directory) else "down already")
            return
        jars = install(home, log=log)
        if action == "up":
            ports = cluster.Ports(**_PORTS.arguments())
            started = cluster.up(jars, ports, directory)
            word = "up" if started else "up already"
            log(f"{word}, see http://localhost:{ports.web}")


if __name__ == "__main__":
    cli.run(main, FLAGS)
