r"""Starts Python workers for the task managers of a Flink cluster on this machine.

  python -m infra.flink.worker_pool --port=50001

Beam's own pool supports one task manager. Each task manager numbers its workers from 1,
so that the first of two to finish a job would make the pool stop the other's worker.
Here a worker is not stopped: it exits when its task manager closes the connection.
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
    """Beam's worker-pool service; starts one process per worker."""

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Starts a worker, with the Python path of this process."""
        address = request.control_endpoint.url
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, address, request.worker_id]
        )
        # Reap the worker when it exits.
        threading.Thread(target=process.wait, daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Does nothing: the caller closes the connection next."""
        return beam_fn_api_pb2.StopWorkerResponse()


def main(argv: Sequence[str]) -> None:
    """Serves until it is stopped."""
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
