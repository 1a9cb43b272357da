"""Faults around the processes of a job: who may talk to them, and how they end."""

import ctypes
import errno
import gc
import ipaddress
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys

import grpc
import pytest
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_runner_api_pb2,
)
from apache_beam.runners.portability.fn_api_runner import fn_runner, worker_handlers

from beam_jobs.runners import listening
from classifier.inference.engine import (
    Engine,
    NetworkLoader,
    candidates,
    has_openvino,
)
from classifier.inference.engine_autotune import BATCH_SIZE
from stage import artifact
from tests.commands import ENVIRONMENT, ROOT, call
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
@page.holds("another host that connects to a local job")
def test_a_local_job_listens_on_loopback_only(fault, place, tmp_path):
    assert fault.end == endings.WORKS
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


@page.holds("other user of the machine who requests a file from a local job")
def test_only_workers_of_a_job_may_ask_it(fault, tmp_path):
    assert fault.end == endings.WORKS
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


# --- signals -------------------------------------------------------------------
def start_in_group(*arguments):
    """Starts a command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


@page.holds("Ctrl-C after `--engine=auto` tried the engines")
def test_ctrl_c_after_the_engines_were_tried(fault, exported, tmp_path):
    if len(candidates()) == 1:
        pytest.skip("there is one engine only")
    assert fault.end == endings.RESUMABLE
    # Engines are compared if the first shard has images enough.
    for shard in range(NUM_SHARDS):
        images = random_images(2 * BATCH_SIZE, seed=shard)
        write_records(tmp_path / "in" / f"part-{shard}", images)
    process = start_in_group(
        "beam_jobs.label_images",
        flags_of(tmp_path)[0],
        *(f"--teacher={exported[0]}", f"--output={tmp_path}/out", "--", *jobs.LOCAL),
    )
    try:
        for line in process.stdout:
            if "chosen" in line:
                break
        else:
            pytest.fail("no engine was chosen")
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, output
    fault.check(output)


def signal_stack():
    """Returns the address and size of this thread's signal stack; None without one."""

    class Stack(ctypes.Structure):
        _fields_ = (
            ("address", ctypes.c_void_p),
            ("flags", ctypes.c_int),
            ("size", ctypes.c_size_t),
        )

    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    is_disabled = 2
    return None if stack.flags & is_disabled else (stack.address, stack.size)


def is_mapped(address, size):
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in lines]
    return any(
        int(start, 16) <= address and address + size <= int(end, 16)
        for start, end in ranges
    )


@pytest.mark.skipif(not has_openvino(), reason="OpenVINO is not installed")
@page.holds("signal after OpenVINO freed its networks")
def test_signal_after_networks_were_freed(fault, exported):
    assert fault.end == endings.WORKS
    loader = NetworkLoader(exported[0] / "export")
    networks = [
        loader.load(Engine("openvino", dtype), batch_size=1, threads=1)
        for dtype in ("float32", "bfloat16")
    ]
    while networks:  # The oldest first.
        networks.pop(0)
        gc.collect()
    stack = signal_stack()
    assert stack is None or is_mapped(*stack)


# --- what is printed -----------------------------------------------------------
#: Redirections in bash, and the exit status.
PRINTED = {
    "stdout without a reader": ("| head -c 0; exit ${PIPESTATUS[0]}", 141),
    "stdout on a full disk": (">/dev/full", 1),
    "closed standard streams": ("<&- >&- 2>&-", 0),
}


@pytest.fixture(scope="module")
def unprinted(place, tmp_path_factory):
    """The outputs, statuses and errors of labeling that cannot print."""
    root = tmp_path_factory.mktemp("unprinted")
    command = [sys.executable, "-m", "beam_jobs.label_images", *flags_of(place)]
    processes = {}
    for name, (redirection, _) in PRINTED.items():
        output = root / name.replace(" ", "-")
        words = [*command, f"--output={output}", "--", "--direct_num_workers=1"]
        processes[name] = (
            output,
            subprocess.Popen(
                ["bash", "-c", f"{shlex.join(words)} {redirection}"],
                cwd=ROOT,
                env=ENVIRONMENT,
                stderr=subprocess.PIPE,
                text=True,
            ),
        )
    return {
        name: (output, process.communicate()[1], process.returncode)
        for name, (output, process) in processes.items()
    }


@page.holds(*PRINTED)
def test_work_that_cannot_be_printed(fault, unprinted):
    assert fault.end == endings.WORKS
    output, errors, status = unprinted[fault.name]
    assert artifact.is_complete(output), errors
    assert status == PRINTED[fault.name][1]
    assert len(errors.splitlines()) == len(fault.mentions)
    if fault.mentions:
        fault.check(errors)


@page.holds("log of a failed job that cannot be saved")
def test_a_log_that_cannot_be_saved(fault, place, tmp_path, monkeypatch):
    assert fault.end == endings.FAILED

    def fill_up(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", fill_up)
    ended = call(
        "beam_jobs.label_images",
        *flags_of(place, "Raising"),
        *(f"--output={tmp_path}/out", "--", "--direct_num_workers=1"),
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    fault.check(line)


# --- the command line ----------------------------------------------------------
REFUSED = {
    "flag with an empty value": ("--output=",),
    "runner that is not supported": ("--", "--runner=SparkRunner"),
    "runner of a cluster without its job server": ("--", "--runner=PortableRunner"),
    "engine for a model handler": ("--engine=tensorflow",),
    "throughput without `--estimate`": ("--images_per_second=5",),
}
#: Of a recipe.
REFUSED_SETTINGS = {
    "setting that takes minutes to compile": "augment.num_ops=1000",
    "setting that memory cannot hold": "global_batch_size=1000000",
}


@page.holds(*REFUSED)
def test_a_command_line_that_is_refused(fault, place, tmp_path):
    assert fault.end == endings.REFUSED
    output = tmp_path / "out"
    ended = call(
        "beam_jobs.label_images",
        *(*flags_of(place), f"--output={output}", *REFUSED[fault.name]),
    )
    assert ended.returncode == 1
    fault.check(ended.stderr)
    assert not output.exists()


@page.holds(*REFUSED_SETTINGS)
def test_a_setting_that_is_refused(fault, tmp_path):
    assert fault.end == endings.REFUSED
    flags = ("--labeled=folder:train", "--evaluation=folder:test")
    setting = f"--set={REFUSED_SETTINGS[fault.name]}"
    ended = call("teacher.train", *flags, f"--workdir={tmp_path}/made", setting)
    assert ended.returncode == 1
    fault.check(ended.stderr)
    assert not list(tmp_path.iterdir())
