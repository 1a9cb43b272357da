import time
import types

import pytest
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.utils import retry

from beam_jobs.runners.dataflow import submission
from tests.beam_jobs.runners.dataflow.jobs import as_job, for_service, labeling


@pytest.fixture
def submit(emulator, monkeypatch, tmp_path):
    """Submits the labeling job to a service; returns the lines for the user.

    The result of Beam is in `submit.result`, the directory of the output, which has
    nothing but the bill, in `submit.output`; `submit.prepared` has an entry for each
    time that the output was prepared.
    """
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    # Beam looks at the job every five seconds, and tries again after five to 320.
    hasty = types.SimpleNamespace(time=time.time, sleep=lambda _: time.sleep(0.01))
    monkeypatch.setattr(dataflow_runner, "time", hasty)
    monkeypatch.setattr(retry.Clock, "sleep", lambda *_: time.sleep(0.01))

    def submit(service, *more, build=labeling):
        submit.lines = []
        options = for_service(service, *more)
        job = as_job(build, output=tmp_path, prepare=lambda: submit.prepared.append(1))
        submit.result = submission.run(job, options, log=submit.lines.append)
        return submit.lines

    submit.output = tmp_path
    submit.prepared = []
    return submit
