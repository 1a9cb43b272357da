"""Faults around the processes of a job: who may talk to them, and how they end."""

import ipaddress
import json
import os

import grpc
import pytest
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_runner_api_pb2,
)
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers

from beam_jobs.runners import listening
from tests.commands import call
from tests.faults import endings, handlers, page
from tests.images import random_images, write_records
from tests.infra import jobs

NUM_SHARDS = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with records, and the names of three classes."""
    root = tmp_path_factory.mktemp("processes")
    for shard, image in enumerate(random_images(NUM_SHARDS)):
        write_records(root / "in" / f"part-{shard}", [image])
    (root / "names.txt").write_text("a\nb\nc\n")
    return root


def flags_of(place, handler="Fixed"):
    return (
        f"--images=tfrecord:{place}/in/part-*",
        f"--model_handler={handlers.__name__}:{handler}",
        f"--class_names={place}/names.txt",
    )


# --- sockets -------------------------------------------------------------------
@page.holds("host that connects to a local job")
def test_a_local_job_listens_on_loopback_only(fault, place, tmp_path):
    assert fault.end == endings.LABELED
    ended = call(
        "beam_jobs.label_images",
        *flags_of(place, f"Listening:{os.getpid()},{tmp_path}"),
        *(f"--output={tmp_path}/out", "--", *jobs.LOCAL),
    )
    assert ended.returncode == 0, ended.stderr
    lists = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    # gRPC listens on IPv4 by a socket of IPv6.
    addresses = {ip.removeprefix("::ffff:") for listed in lists for ip in listed}
    assert addresses
    assert all(ipaddress.ip_address(ip).is_loopback for ip in addresses), addresses


def ask_for_file(port, path, metadata=()):
    """Asks Beam's server on a port for a file of its user."""
    artifact = beam_runner_api_pb2.ArtifactInformation(
        type_urn="beam:artifact:type:file:v1",
        type_payload=beam_runner_api_pb2.ArtifactFilePayload(
            path=str(path)
        ).SerializeToString(),
    )
    request = beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact)
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        stub = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
        replies = stub.GetArtifact(request, metadata=metadata, timeout=20)
        return b"".join(reply.data for reply in replies)


@page.holds("user of the same machine who asks a local job for a file")
def test_only_workers_of_a_job_may_ask_it(fault, tmp_path):
    assert fault.end == endings.REFUSED
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    with listening.closed_to_others(are_workers_ours=True):
        info = fn_runner.ExtendedProvisionInfo()
        manager = worker_handlers.WorkerHandlerManager({}, info)
        server = worker_handlers.GrpcServer(manager.state_servicer, info, manager)
        worker = worker_handlers.GrpcWorkerHandler(None, info, server)
    try:
        for metadata in ((), (("worker_id", "worker_0"),)):
            with pytest.raises(grpc.RpcError) as refusal:
                ask_for_file(server.control_port, secret, metadata)
            fault.check(str(refusal.value.code()))
        ours = (("worker_id", worker.worker_id),)
        assert ask_for_file(server.control_port, secret, ours) == b"secret"
    finally:
        server.close()
