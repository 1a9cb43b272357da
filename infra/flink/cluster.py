"""A Flink cluster on this machine, with Beam's job server and Python workers.

Five processes, each with a log in the same directory:

  job-manager      Flink: accepts jobs, supervises the task managers
  task-manager-1   Flink: runs half of a job, or all of it if the other one is lost
  task-manager-2
  job-server       Beam: translates a pipeline into a Flink job
  worker-pool      starts a Python worker for each task manager that asks for one

A killed process is not restarted: Flink restarts the *job* on the remaining processes,
for which each task manager has a spare slot. `up` starts missing processes again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from infra.flink.install import Jars

ROOT = pathlib.Path(__file__).parents[2]
NUM_TASK_MANAGERS = 2
#: Slots per task manager: one for a job of parallelism 2, one if the other is lost.
SLOTS = 2
#: Time limit for all processes to answer, in seconds. An idle machine with two cores
#: takes 15.
START_SECONDS = 120.0
#: Seconds between SIGTERM and SIGKILL.
GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.2

#: Memory of a task manager in MB, the smallest that works: images never pass through
#: Java, only shard numbers and counts. The shuffles of a selection fill 128 MB of the
#: network memory.
_HEAP, _FRAMEWORK_HEAP, _NETWORK, _OFF_HEAP, _METASPACE = 256, 128, 192, 128, 256

_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1} - %m%n
"""

#: Access to Java 17's internals, as in Flink's default configuration.
_OPEN = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            *("java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio"),
            *("java.text", "java.time", "java.util", "java.util.concurrent"),
            *("java.util.concurrent.atomic", "java.util.concurrent.locks"),
            "sun.nio.ch",
        )
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports on localhost.

    Attributes:
        web: Flink's web page and REST interface.
        rpc: Job manager, for the task managers.
        jobs: Beam's job server, for `--job_endpoint=`.
        workers: Worker pool, for `--environment_config=`.
    """

    web: int
    rpc: int
    jobs: int
    workers: int


@dataclasses.dataclass(frozen=True)
class Service:
    """A process of the cluster, the ports it listens on, and its files' directory.

    A running process holds a lock on its PID file; its PID alone may have been reused.
    """

    name: str
    command: tuple[str, ...]
    ports: tuple[int, ...]
    directory: pathlib.Path

    @property
    def log(self) -> pathlib.Path:
        """File with its output."""
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> pathlib.Path:
        """File with its PID, which it locks."""
        return self.directory / f"{self.name}.pid"

    def pid(self) -> int | None:
        """Returns its PID, or None if it is not running."""
        try:
            with self.pid_file.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(self.pid_file.read_text())
        except FileNotFoundError:
            pass
        return None

    def start(self) -> None:
        """Starts it in a session of its own, so that it outlives this process."""
        # Python workers import this project.
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.pid_file.open("w") as file, self.log.open("ab") as log:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            process = subprocess.Popen(
                self.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[file.fileno()],
                start_new_session=True,
            )
            file.write(str(process.pid))
        # Reap it when it ends, if this process still runs.
        threading.Thread(target=process.wait, daemon=True).start()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to it and its children, if it is running."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)


def services(jars: Jars, ports: Ports, directory: pathlib.Path) -> tuple[Service, ...]:
    """Returns the processes of a cluster in the order of their start."""
    java = ("java", *_OPEN, f"-Djava.io.tmpdir={directory / 'tmp'}")
    logging = f"-Dlog4j.configurationFile={directory / 'log4j2.properties'}"
    flink = (*java, logging, "-cp", f"{jars.flink}/*")
    config = ("--configDir", str(directory))
    manager = (
        *(*flink, "-Xmx400m"),
        "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
        *config,
    )
    worker = (
        *(*flink, f"-Xmx{_HEAP + _FRAMEWORK_HEAP}m"),
        f"-XX:MaxDirectMemorySize={_NETWORK + _OFF_HEAP}m",
        f"-XX:MaxMetaspaceSize={_METASPACE}m",
        "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
        *config,
    )
    server = (
        *(*java, "-Xmx512m", "-cp", f"{jars.job_server}/*"),
        "org.apache.beam.runners.flink.FlinkJobServerDriver",
        *(f"--flink-master=localhost:{ports.web}", "--job-host=localhost"),
        *(f"--job-port={ports.jobs}", "--artifact-port=0", "--expansion-port=0"),
        f"--artifacts-dir={directory / 'tmp' / 'artifacts'}",
    )
    pool = (sys.executable, "-m", "infra.flink.worker_pool", f"--port={ports.workers}")
    return (
        Service("job-manager", manager, (ports.rpc, ports.web), directory),
        *(
            Service(f"task-manager-{i + 1}", worker, (), directory)
            for i in range(NUM_TASK_MANAGERS)
        ),
        Service("job-server", server, (ports.jobs,), directory),
        Service("worker-pool", pool, (ports.workers,), directory),
    )


def up(jars: Jars, ports: Ports, directory: pathlib.Path) -> bool:
    """Starts the processes that are not running; returns when all of them answer.

    Configuration, logs and temporary files are in `directory`. Returns whether a
    process had to be started; raises OSError if one does not answer in time.
    """
    directory = directory.resolve()
    every = services(jars, ports, directory)
    running = {service.name for service in every if service.pid() is not None}
    missing = [service for service in every if service.name not in running]
    before = _read_ports(directory)
    if running and before != ports:
        raise ValueError(
            f"the cluster in {directory} is up: expected {before}, got {ports}; stop "
            "it or choose another --run"
        )
    for service in missing:
        for port in filter(_answers, service.ports):
            raise OSError(
                f"port {port}, for the {service.name}, is taken: stop the process that "
                "listens there or choose another port"
            )
    _configure(ports, directory)
    try:
        for service in missing:
            service.start()
        if missing:
            _wait_until_ready(every, ports)
    except BaseException:
        _stop(missing)
        raise
    return bool(missing)


def down(directory: pathlib.Path) -> bool:
    """Stops all processes, keeps their logs; returns whether one was running."""
    directory = directory.resolve()
    if _read_ports(directory) is None:  # Not a cluster's directory.
        return False
    started = [
        Service(file.stem, (), (), directory) for file in directory.glob("*.pid")
    ]
    running = [service for service in started if service.pid() is not None]
    _stop(running)
    shutil.rmtree(directory / "tmp", ignore_errors=True)
    return bool(running)


def _stop(running: Sequence[Service]) -> None:
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, 60.0)):
        for service in running:
            service.send(number)
        deadline = time.monotonic() + seconds
        while any(service.pid() for service in running) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _read_ports(directory: pathlib.Path) -> Ports | None:
    with contextlib.suppress(FileNotFoundError):
        return Ports(**json.loads((directory / "ports.json").read_text()))
    return None


def _configure(ports: Ports, directory: pathlib.Path) -> None:
    (directory / "tmp").mkdir(parents=True, exist_ok=True)
    (directory / "ports.json").write_text(json.dumps(dataclasses.asdict(ports)))
    (directory / "log4j2.properties").write_text(_LOGGING)
    (directory / "config.yaml").write_text(_config(ports, directory))


def _config(ports: Ports, directory: pathlib.Path) -> str:
    """Returns Flink's configuration file."""
    return f"""\
jobmanager:
  rpc: {{address: localhost, port: {ports.rpc}}}
  bind-host: localhost
  memory: {{heap: {{size: 400m}}}}
rest: {{address: localhost, bind-address: localhost, port: {ports.web}}}
# Else any web site could send programs through a browser on this machine, and read.
web:
  submit: {{enable: false}}
  cancel: {{enable: false}}
  access-control-allow-origin: "http://localhost:{ports.web}"
taskmanager:
  host: localhost
  bind-host: localhost
  numberOfTaskSlots: {SLOTS}
  load-balance: {{mode: SLOTS}}  # Both task managers work, neither twice.
  cpu: {{cores: 1}}
  memory:
    task: {{heap: {{size: {_HEAP}m}}, off-heap: {{size: 0}}}}
    framework: {{heap: {{size: {_FRAMEWORK_HEAP}m}}, off-heap: {{size: {_OFF_HEAP}m}}}}
    network: {{min: {_NETWORK}m, max: {_NETWORK}m}}
    managed: {{size: 128m}}
    jvm-metaspace: {{size: {_METASPACE}m}}
    jvm-overhead: {{min: 128m, max: 128m}}
parallelism: {{default: {NUM_TASK_MANAGERS}}}
cluster: {{registration: {{error-delay: 1000}}}}  # Task managers may start first.
# A killed task manager or worker costs a job one attempt. A job that always fails
# should not be retried for minutes.
restart-strategy:
  type: fixed-delay
  fixed-delay: {{attempts: 4, delay: 1 s}}
# A killed process refuses connections and is given up after two heartbeats; the
# time-out is for slow processes.
heartbeat: {{interval: 2000, timeout: 30000}}
io: {{tmp: {{dirs: "{directory / "tmp"}"}}}}
"""


def _wait_until_ready(every: Sequence[Service], ports: Ports) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = [port for service in every for port in service.ports]
    while waiting or _count_task_managers(ports.web) != NUM_TASK_MANAGERS:
        for service in every:
            if service.pid() is None:
                raise OSError(f"the {service.name} has exited, see {service.log}")
        if time.monotonic() > deadline:
            raise OSError(
                f"the cluster did not answer within {START_SECONDS:.0f} seconds, "
                f"see the logs in {every[0].directory}"
            )
        time.sleep(_POLL_SECONDS)
        waiting = [port for port in waiting if not _answers(port)]


def _count_task_managers(web_port: int) -> int:
    """Counts the running task managers; Flink lists a killed one for a while."""
    listed: list[dict[str, Any]]
    try:
        address = f"http://localhost:{web_port}/taskmanagers"
        with urllib.request.urlopen(address, timeout=5) as reply:
            listed = json.load(reply)["taskmanagers"]
    except OSError:
        return 0
    matches = [re.search(r"@localhost:(\d+)/", each["path"]) for each in listed]
    return sum(match is not None and _answers(int(match[1])) for match in matches)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
        return True
    return False
