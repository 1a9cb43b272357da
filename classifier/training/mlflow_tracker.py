"""Runs of MLflow, through its client alone: nothing of it outlives the run."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Mapping
from typing import Any

from classifier.training.tracker import RunSetup, Status, short_settings

#: Environment of MLflow, unless the user has set it. By default it waits for a server
#: for minutes, and tells its makers how it is used.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
#: Experiment of the runs, unless the environment names one.
_EXPERIMENT = "noisy-student-rs"
#: Most parameters of a request.
_MAX_PARAMS = 100


class MlflowTracker:
    """One run of an MLflow server or file."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def log_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Sends a row in one request."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        row = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self.run_id, metrics=row)

    def finish(self, status: Status) -> None:
        """Sets the run's status and end."""
        self._client.set_terminated(self.run_id, status.upper())


def open_run(uri: str, setup: RunSetup) -> MlflowTracker:
    """Begins a run, or goes on with one; raises what MLflow raises."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    if setup.run_id is not None:
        client.update_run(setup.run_id, status="RUNNING")
        return MlflowTracker(client, setup.run_id)
    run = client.create_run(_find_experiment(client), run_name=setup.name)
    _log_settings(client, run.info.run_id, setup.settings)
    return MlflowTracker(client, run.info.run_id)


def _find_experiment(client: Any) -> str:
    """Returns the identifier of the experiment, which is created if need be."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _log_settings(client: Any, run_id: str, settings: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    params = [
        Param(re.sub(r"[^\w\-. /]", "_", name), value)
        for name, value in short_settings(settings).items()
    ]
    for start in range(0, len(params), _MAX_PARAMS):
        client.log_batch(run_id, params=params[start : start + _MAX_PARAMS])
