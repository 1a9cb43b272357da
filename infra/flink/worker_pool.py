r"""Starts Python workers for the task managers of a Flink cluster on this machine.

  python -m infra.flink.worker_pool --port=50001

Beam's own pool is made for one task manager. Each of them numbers its workers from 1,
and where two share a pool, the first to end a job has it stop the other's worker. Here
nobody stops a worker: it ends when the task manager that it works for hangs up.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent import futures
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from stage import cli
from stage.flags import CommandFlags

FLAGS = CommandFlags()
_PORT = FLAGS.integer("port", 50001, "Port on localhost to listen on.")
_WORKER = """\
import sys
from apache_beam.runners.worker.sdk_worker import SdkHarness
SdkHarness(sys.argv[1], worker_id=sys.argv[2], state_cache_size=0).run()
"""


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Beam's service for workers, with a process for each that is asked for."""

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Starts a worker; it has what this process has on its path."""
        address = request.control_endpoint.url
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, address, request.worker_id]
        )
        # Else it would stay in the table of processes when it has ended.
        threading.Thread(target=process.wait, daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Does nothing: the caller hangs up next."""
        return beam_fn_api_pb2.StopWorkerResponse()


def main(argv: Sequence[str]) -> None:
    """Serves until it is ended."""
    with cli.exit_on_user_error():
        cli.check_no_arguments(argv)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(
        WorkerPool(), server
    )
    server.add_insecure_port(f"localhost:{_PORT.value}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    cli.run(main, FLAGS)
