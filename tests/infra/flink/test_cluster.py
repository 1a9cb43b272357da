"""Management of a cluster, without Flink."""

import signal
import socket
import sys
import time

import pytest
import yaml

from infra.flink import cluster
from infra.flink.install import Jars
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
    # The PID is still in the file, and may belong to another process.
    assert service.pid() is None
    assert int(service.pid_file.read_text()) == pid


def test_a_taken_port_is_refused_before_anything_starts(tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
        ports = cluster.Ports(web=free_port(), rpc=free_port(), jobs=port, workers=1)
        with pytest.raises(OSError, match=rf"port {port}\b.*job-server"):
            cluster.up(Jars(tmp_path), ports, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_service_that_ends_at_once_is_named_and_the_others_end(tmp_path, monkeypatch):
    run = tmp_path / "run"
    services = (
        cluster.Service("sleeper", SLEEPER, (), run),
        cluster.Service("broken", (sys.executable, "-c", "no"), (free_port(),), run),
    )
    monkeypatch.setattr(cluster, "services", lambda *_: services)
    with pytest.raises(OSError, match=r"broken\.log"):
        cluster.up(Jars(tmp_path), free_ports(), run)
    assert [service.pid() for service in services] == [None, None]
    assert "NameError" in services[1].log.read_text()


def test_down_without_a_cluster_does_nothing(tmp_path):
    assert not cluster.down(tmp_path / "run")


def test_down_leaves_processes_of_another_directory_alone(tmp_path):
    daemon = cluster.Service("daemon", SLEEPER, (), tmp_path)
    daemon.start()
    try:
        assert not cluster.down(tmp_path)
        assert daemon.pid() is not None
    finally:
        daemon.send(signal.SIGKILL)


def test_a_cluster_keeps_its_ports(tmp_path, monkeypatch):
    service = cluster.Service("sleeper", SLEEPER, (), tmp_path)
    monkeypatch.setattr(cluster, "services", lambda *_: (service,))
    monkeypatch.setattr(cluster, "_wait_until_ready", lambda *_: None)
    ports = free_ports()
    assert cluster.up(Jars(tmp_path), ports, tmp_path)
    assert not cluster.up(Jars(tmp_path), ports, tmp_path)
    with pytest.raises(ValueError, match=str(ports.web)):
        cluster.up(Jars(tmp_path), free_ports(), tmp_path)
    assert cluster.down(tmp_path)
    assert cluster.up(Jars(tmp_path), free_ports(), tmp_path)
    assert cluster.down(tmp_path)


def test_the_web_page_takes_no_programs_and_is_for_no_other_page(tmp_path):
    config = yaml.safe_load(cluster._config(free_ports(), tmp_path))
    assert config["web"]["submit"] == config["web"]["cancel"] == {"enable": False}
    allowed = config["web"]["access-control-allow-origin"]
    assert allowed == f"http://localhost:{config['rest']['port']}"
    hosts = config["rest"]["bind-address"], config["jobmanager"]["bind-host"]
    assert {*hosts, config["taskmanager"]["bind-host"]} == {"localhost"}
