import subprocess
import sys
import threading

from apache_beam.portability.api import beam_fn_api_pb2

from infra.flink import worker_pool


def test_each_request_starts_a_process_for_its_task_manager(monkeypatch):
    started = []
    waited = threading.Event()

    class Process:
        def __init__(self, command):
            started.append(command)

        def wait(self):
            waited.set()

    monkeypatch.setattr(subprocess, "Popen", Process)
    request = beam_fn_api_pb2.StartWorkerRequest(worker_id="1")
    request.control_endpoint.url = "localhost:5"
    pool = worker_pool.WorkerPool()
    assert not pool.StartWorker(request, None).error
    assert waited.wait(10)
    (command,) = started
    assert command[0] == sys.executable
    assert command[-2:] == ["localhost:5", "1"]
    assert not pool.StopWorker(None, None).error


def test_the_program_of_a_worker_compiles():
    compile(worker_pool._WORKER, "worker", "exec")
