"""The job of infra/kubernetes on the Flink cluster of this machine."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time

import psutil
import pytest

from tests import commands
from tests.infra import jobs, local_flink
from tests.infra.kubernetes import manifests

pytestmark = local_flink.NEEDED

#: Beam's pool listens on all network interfaces unless told otherwise.
POOL = """
import sys
from apache_beam.runners.worker import worker_pool_main
from beam_jobs.runners import listening
with listening.closed_to_others(are_workers_ours=False):
    worker_pool_main.main(sys.argv)
"""


def label(root, output, *, workers=1, replaced=(), beam_flags=None):
    """Runs the launcher's command, with paths and addresses of this machine."""
    values = {
        "IMAGES": f"tfrecord:{root}/in/part-*",
        "TEACHER": f"{root}/teacher",
        "OUTPUT": str(output),
        "WORKERS": str(workers),
    }
    _, _, module, *arguments = manifests.launcher(values)
    if beam_flags is not None:
        arguments[arguments.index("--") + 1 :] = beam_flags
    for name, value in dict(replaced).items():
        (index,) = (i for i, word in enumerate(arguments) if word.startswith(name))
        arguments[index] = f"{name}={value}"
    commands.run(module, *arguments)


@pytest.fixture(scope="module")
def locally_labeled(labeling):
    """What the local runner makes with the flags of the manifest."""
    output = labeling.root / "kubernetes-local"
    label(labeling.root, output, beam_flags=jobs.LOCAL)
    return output


def test_the_job_of_kubernetes_labels_as_the_local_runner_does(
    cluster, labeling, locally_labeled
):
    output = labeling.root / "kubernetes"
    addresses = {
        "--job_endpoint": f"localhost:{cluster.ports['job_port']}",
        "--environment_config": f"localhost:{cluster.ports['worker_port']}",
    }
    label(labeling.root, output, workers=2, replaced=addresses)
    jobs.compare(output, locally_labeled)
    assert cluster.count_restarts() == 0


@contextlib.contextmanager
def running_pool(port):
    """Runs the worker pool of a task manager's pod."""
    container = manifests.container("task-manager", "worker-pool")
    python, *flag, module, port_flag = container["command"]
    assert (python, flag) == ("python", ["-m"])
    assert module == "apache_beam.runners.worker.worker_pool_main"
    name = port_flag.partition("=")[0]
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    process = psutil.Popen(
        [sys.executable, "-c", POOL, f"{name}={port}"],
        cwd=commands.ROOT,
        env={**commands.ENVIRONMENT, "PATH": path},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + jobs.PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("localhost", port)).close()
                break
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for each in [*process.children(recursive=True), process]:
                each.kill()
        process.wait()


def test_the_pool_of_kubernetes_serves_a_task_manager(
    cluster, labeling, locally_labeled
):
    output = labeling.root / "kubernetes-pool"
    port = commands.free_port()
    with running_pool(port):
        addresses = {
            "--job_endpoint": f"localhost:{cluster.ports['job_port']}",
            "--environment_config": f"localhost:{port}",
        }
        # A machine has one localhost: here the pool is for one task manager.
        label(labeling.root, output, workers=1, replaced=addresses)
    jobs.compare(output, locally_labeled)
