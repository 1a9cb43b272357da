"""What the cluster's keeper does without a cluster."""

import socket
import sys
import time

import pytest

from infra.flink import cluster
from infra.flink.install import Jars, install
from tests.commands import free_port

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


def free_ports():
    names = ("web", "rpc", "jobs", "workers")
    return cluster.Ports(**{name: free_port() for name in names})


def test_a_service_is_known_by_the_lock_it_holds(tmp_path):
    service = cluster.Service("sleeper", SLEEPER, (), tmp_path)
    assert service.pid() is None
    service.start()
    pid = service.pid()
    assert pid == int(service.pid_file.read_text())
    service.send(9)
    deadline = time.monotonic() + 10
    while service.pid() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    # The number is still in the file, and may be another's.
    assert service.pid() is None
    assert int(service.pid_file.read_text()) == pid


def test_a_taken_port_is_refused_before_anything_starts(tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        ports = cluster.Ports(web=free_port(), rpc=free_port(), jobs=port, workers=1)
        with pytest.raises(OSError, match=f"port {port}, for the job-server, is taken"):
            cluster.up(Jars(tmp_path), ports, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_service_that_ends_at_once_is_named_and_the_others_end(tmp_path, monkeypatch):
    run = tmp_path / "run"
    services = (
        cluster.Service("sleeper", SLEEPER, (), run),
        cluster.Service("broken", (sys.executable, "-c", "no"), (free_port(),), run),
    )
    monkeypatch.setattr(cluster, "services", lambda *_: services)
    with pytest.raises(OSError, match=r"the broken has ended, see .*broken\.log"):
        cluster.up(Jars(tmp_path), free_ports(), run)
    assert [service.pid() for service in services] == [None, None]
    assert "NameError" in services[1].log.read_text()


def test_down_where_nothing_ever_was(tmp_path):
    assert not cluster.down(tmp_path / "run")


def test_a_cluster_keeps_its_ports(tmp_path, monkeypatch):
    service = cluster.Service("sleeper", SLEEPER, (), tmp_path)
    monkeypatch.setattr(cluster, "services", lambda *_: (service,))
    monkeypatch.setattr(cluster, "_wait_until_ready", lambda *_: None)
    ports = free_ports()
    assert cluster.up(Jars(tmp_path), ports, tmp_path)
    assert not cluster.up(Jars(tmp_path), ports, tmp_path)
    with pytest.raises(ValueError, match="is up with"):
        cluster.up(Jars(tmp_path), free_ports(), tmp_path)
    assert cluster.down(tmp_path)
    assert cluster.up(Jars(tmp_path), free_ports(), tmp_path)
    assert cluster.down(tmp_path)


@pytest.mark.parametrize("program", ["java", "mvn"])
def test_installing_names_the_program_that_is_missing(tmp_path, monkeypatch, program):
    if program != "java":
        (tmp_path / "java").write_text("#!/bin/sh\n")
        (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"no `{program}` on the PATH"):
        install(tmp_path / "home", log=lambda line: None)
    assert not (tmp_path / "home").exists()


def test_installed_jars_are_not_fetched_again(tmp_path, monkeypatch):
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    jars = Jars(tmp_path)
    jars.flink.mkdir()
    jars.job_server.mkdir()
    said = []
    assert install(tmp_path, log=said.append) == jars
    assert not said
