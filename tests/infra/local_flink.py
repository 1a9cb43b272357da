"""A Flink cluster on this machine, for tests."""

import shutil

import psutil
import pytest

from tests.commands import ROOT, free_port, run

MISSING = [program for program in ("java", "mvn") if shutil.which(program) is None]
NEEDED = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"no {' and no '.join(MISSING)} here"),
]
HOME = ROOT / ".venv" / "flink"


class Cluster:
    """A cluster on ports of its own."""

    def __init__(self, directory):
        self.directory = directory
        names = ("web_port", "rpc_port", "job_port", "worker_port")
        self.ports = {name: free_port() for name in names}
        self.flags = (
            f"--home={HOME}",
            f"--run={directory}",
            *(f"--{name}={port}" for name, port in self.ports.items()),
        )
        self.beam_flags = (
            "--runner=PortableRunner",
            f"--job_endpoint=localhost:{self.ports['job_port']}",
            "--environment_type=EXTERNAL",
            f"--environment_config=localhost:{self.ports['worker_port']}",
            "--parallelism=2",
        )

    def do(self, action):
        return run("infra.flink", action, *self.flags)

    def process(self, name):
        return psutil.Process(int((self.directory / f"{name}.pid").read_text()))

    def addresses(self):
        """Returns the addresses that its processes, and theirs, listen on."""
        started = [self.process(path.stem) for path in self.directory.glob("*.pid")]
        return {
            connection.laddr.ip.removeprefix("::ffff:")
            for process in started
            for each in (process, *process.children(recursive=True))
            for connection in each.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }

    def count_restarts(self):
        log = (self.directory / "job-manager.log").read_text()
        return log.count("switched from state RUNNING to RESTARTING")
