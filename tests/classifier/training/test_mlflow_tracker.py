"""MLflow's own software: runs in a file, and on a server of its own."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from classifier.training.mlflow_tracker import open_run
from classifier.training.tracker import RunSetup
from tests import commands

pytest.importorskip("mlflow", reason="needs MLflow, see docs/tracking.md")
pytestmark = pytest.mark.filterwarnings("ignore")

#: What MLflow's server needs and its client does not.
OF_SERVER = ("flask", "huey", "pandas")
SETTINGS = {"config": {"optimizer": {"momentum": 0.9}}, "a:b": 1} | {
    f"setting_{number}": number for number in range(150)
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URI of a server on loopback that ends with the module's tests."""
    for module in OF_SERVER:
        pytest.importorskip(module, reason="needs MLflow's server, docs/tracking.md")
    directory, port = tmp_path_factory.mktemp("server"), commands.free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host=127.0.0.1", f"--port={port}", "--workers=1"),
            f"--backend-store-uri=sqlite:///{directory}/server.db",
            f"--artifacts-destination={directory}/artifacts",
        ],
        cwd=directory,
        env={
            **os.environ,
            "HOME": str(directory),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        stdout=subprocess.DEVNULL,
        stderr=(directory / "log").open("w"),
        start_new_session=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, directory / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url, process, log):
    """Returns when a server answers."""
    give_up = time.monotonic() + 240
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.2)


@pytest.fixture(params=["sqlite", "http"])
def uri(request, tmp_path):
    if request.param == "sqlite":
        pytest.importorskip("sqlalchemy", reason="needs sqlalchemy and alembic")
        return f"sqlite:///{tmp_path}/mlflow.db"
    return request.getfixturevalue("server")


def test_a_run_is_begun_ended_and_gone_on_with(uri, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of this test")
    setup = RunSetup(name="a/run", workdir=tmp_path, settings=SETTINGS, run_id=None)
    first = open_run(uri, setup)
    first.log_metrics(10, {"train/loss": 2.0, "train/top1": 0.5})
    first.log_metrics(10, {"evaluation/top1": 0.25})
    first.finish("killed")
    client = MlflowClient(tracking_uri=uri)
    found = client.get_run(first.run_id)
    assert found.info.status == "KILLED"
    assert found.info.run_name == "a/run"
    assert found.data.params["config.optimizer.momentum"] == "0.9"
    assert len(found.data.params) == len(SETTINGS)

    again = open_run(uri, RunSetup(**{**vars(setup), "run_id": first.run_id}))
    assert client.get_run(first.run_id).info.status == "RUNNING"
    again.log_metrics(20, {"train/loss": 1.0})
    again.finish("finished")
    history = client.get_metric_history(first.run_id, "train/loss")
    assert [(metric.step, metric.value) for metric in history] == [(10, 2), (20, 1)]
    assert client.get_run(first.run_id).info.status == "FINISHED"
    experiment = client.get_experiment_by_name("of this test")
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_a_server_that_is_not_there_is_named_soon(tmp_path):
    uri = f"http://127.0.0.1:{commands.free_port()}"
    setup = RunSetup(name="run", workdir=tmp_path, settings={}, run_id=None)
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        open_run(uri, setup)
