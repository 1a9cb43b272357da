"""Keeps others away from the servers by which Beam's processes talk to each other.

Beam opens them on all network interfaces and asks nobody who they are; one hands out
any file of the user. Here they listen on loopback, and those of the local runner answer
its own workers alone.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import worker_pool_main

#: Beam numbers the workers from this attribute on, and each of them sends `worker_N`
#: with every call.
_COUNTER = "_worker_id_counter"


class _KnownWorkers(grpc.ServerInterceptor):
    """Refuses calls of others than workers that this process has numbered.

    Numbers start at random, so that a worker's name is also its password. It is in the
    environment of the worker's process, which other users cannot read.
    """

    def __init__(self) -> None:
        self._first = secrets.randbits(128)
        setattr(worker_handlers.WorkerHandler, _COUNTER, self._first - 1)

    def intercept_service(self, continuation: Any, call: Any) -> Any:
        """Returns what handles a call."""
        name = str(dict(call.invocation_metadata).get("worker_id", ""))
        last = getattr(worker_handlers.WorkerHandler, _COUNTER)
        if name in {f"worker_{number}" for number in range(self._first, last + 1)}:
            return continuation(call)
        return grpc.stream_stream_rpc_method_handler(_refuse)


def _refuse(requests: Any, context: Any) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "expected a worker of this job")


@contextlib.contextmanager
def closed_to_others(*, are_workers_ours: bool) -> Iterator[None]:
    """Servers that Beam creates while the block runs listen on loopback only.

    With `are_workers_ours` they answer only the workers that this process has started.

    Raises:
        RuntimeError: If this version of Beam creates its servers in another way.
    """
    modules = (worker_handlers, worker_pool_main)
    if any(module.grpc is not grpc for module in modules) or not hasattr(
        worker_handlers.WorkerHandler, _COUNTER
    ):
        raise RuntimeError(
            "expected the version of apache-beam in constraints.txt, got "
            f"{beam.__version__}: its servers cannot be closed to others"
        )
    make_server = grpc.server
    guards = [_KnownWorkers()] if are_workers_ours else []

    def make_closed_server(*arguments: Any, **more: Any) -> Any:
        server = make_server(*arguments, **more, interceptors=guards)
        listen = server.add_insecure_port
        server.add_insecure_port = lambda address: listen(_on_loopback(address))
        return server

    grpc.server = make_closed_server
    try:
        yield
    finally:
        grpc.server = make_server


def _on_loopback(address: str) -> str:
    """Returns an address with the same port; Beam's clients connect to localhost."""
    return f"localhost:{address.rpartition(':')[2]}"
