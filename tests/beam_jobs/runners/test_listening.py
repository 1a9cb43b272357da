import types

import grpc
import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from beam_jobs.runners import listening


@pytest.mark.parametrize("address", ["[::]:0", "0.0.0.0:0", "localhost:0", ":0"])
def test_a_server_of_any_address_listens_on_loopback(address, monkeypatch):
    asked = []
    server = types.SimpleNamespace(add_insecure_port=asked.append)
    monkeypatch.setattr(grpc, "server", lambda *_, **__: server)
    with listening.closed_to_others(are_workers_ours=False):
        grpc.server(None).add_insecure_port(address)
    assert asked == ["localhost:0"]


def test_afterwards_servers_are_what_they_were():
    before = grpc.server
    with pytest.raises(OSError), listening.closed_to_others(are_workers_ours=True):
        assert grpc.server is not before
        raise OSError
    assert grpc.server is before


def test_another_beam_is_refused(monkeypatch):
    monkeypatch.delattr(worker_handlers.WorkerHandler, "_worker_id_counter")
    with (
        pytest.raises(RuntimeError, match=r"constraints\.txt"),
        listening.closed_to_others(are_workers_ours=True),
    ):
        pass
