import importlib.util
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from classifier.export import model_card
from classifier.training import devices
from classifier.training.config import TrainConfig
from classifier.training.devices import (
    ONE_PROCESS,
    Devices,
    open_devices,
    started_run,
)
from stage import artifact, licenses
from tests.commands import ROOT, call
from tests.json_files import read_json


def process(index, count=4):
    return Devices(backend="jax", count=8, process=index, num_processes=count)


def test_processes_share_input_shards_as_neighbors():
    assert [list(process(i).input_shards(8)) for i in range(4)] == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
    ]
    assert list(ONE_PROCESS.input_shards(3)) == [0, 1, 2]
    with pytest.raises(ValueError, match=r"input_shards\b.*\b4\b.*\b6\b"):
        process(0).check(TrainConfig(global_batch_size=48, input_shards=6))


@pytest.mark.parametrize(
    ("given", "hosts", "right"), [(1, 8, 8), (4, 8, 8), (12, 8, 16), (3, 2, 4)]
)
def test_the_next_number_of_input_shards_that_fits_is_named(given, hosts, right):
    with pytest.raises(ValueError, match=rf"--set=input_shards={right}$"):
        process(0, hosts).input_shards(given)
    assert len(process(0, hosts).input_shards(right)) == right // hosts


@pytest.mark.parametrize("command", ["teacher.train", "student.train"])
def test_input_shards_are_refused_before_images_are_opened(
    command, tmp_path, monkeypatch
):
    monkeypatch.setattr(devices, "load_backend", lambda *_: process(0, 8))
    sources = [f"--{name}=folder:{tmp_path}/none" for name in ("labeled", "evaluation")]
    refused = call(
        command, *sources, f"--workdir={tmp_path}/made", "--set=input_shards=4"
    )
    assert refused.returncode == 1
    assert "--set=input_shards=8" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_devices_share_a_batch():
    process(0).check(TrainConfig(global_batch_size=16, input_shards=4))
    with pytest.raises(ValueError, match=r"global_batch_size\b.*\b8\b.*\b12\b"):
        process(0).check(TrainConfig(global_batch_size=12, input_shards=4))


def test_alone_a_process_agrees_with_itself():
    figures = np.array([1.5, 2.0])
    np.testing.assert_array_equal(ONE_PROCESS.total(figures), figures)
    assert ONE_PROCESS.broadcast(7) == 7
    assert ONE_PROCESS.on_first_process(lambda: True) is True
    assert ONE_PROCESS.is_preempted(3, here=True)
    assert not ONE_PROCESS.is_preempted(3, here=False)


@pytest.mark.parametrize(
    ("details", "kind"),
    [(None, "CPU"), ({"device_name": "NVIDIA H200"}, "NVIDIA H200"), ({}, "GPU")],
)
def test_the_device_that_is_used_is_named(monkeypatch, details, kind):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    gpus = ["a GPU"] if details is not None else []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda name: gpus)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: details
    )
    assert devices.load_backend("tensorflow").describe() == f"tensorflow on 1 x {kind}"


@pytest.mark.parametrize(
    ("backend", "gpus", "program", "extra"),
    [
        ("tensorflow", [], "/usr/bin/nvidia-smi", "tensorflow-cuda"),
        ("jax", [], "/usr/bin/nvidia-smi", "cuda"),
        ("tensorflow", [], None, None),
        ("tensorflow", ["a GPU"], "/usr/bin/nvidia-smi", None),
    ],
)
def test_what_to_install_for_a_gpu_is_said(monkeypatch, backend, gpus, program, extra):
    monkeypatch.setattr(
        devices, "open_devices", lambda *_: Devices(backend=backend, kind="cpu")
    )
    monkeypatch.setattr(shutil, "which", lambda name: program)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda name: gpus)
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *_: None)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {})
    remark = devices.load_backend(backend).remark
    assert (f"'.[{extra}]'" in remark) if extra else remark == ""


def test_what_the_first_refuses_is_refused_with_its_words():
    def refuse():
        raise ValueError("its words")

    with pytest.raises(ValueError, match=r"^its words$"):
        ONE_PROCESS.on_first_process(refuse)


def test_a_run_is_started_and_resumed_until_it_is_complete(
    tmp_path, capsys, monkeypatch
):
    described = []
    monkeypatch.setattr(model_card, "write", described.append)
    workdir = str(tmp_path / "runs" / "teacher")
    with (
        pytest.raises(FloatingPointError),
        started_run({"a": 1}, ONE_PROCESS, workdir, profile=True) as context,
    ):
        assert (context.workdir, context.devices) == (workdir, ONE_PROCESS)
        assert context.profile
        with (
            pytest.raises(ValueError, match="another process"),
            started_run({"a": 1}, ONE_PROCESS, workdir),
        ):
            pass
        raise FloatingPointError
    assert read_json(f"{workdir}/config.json") == {"a": 1}
    assert not artifact.is_complete(workdir)
    assert described == []
    with started_run({"a": 1}, ONE_PROCESS, workdir) as context:
        context.log("a line")
    assert artifact.is_complete(workdir)
    with started_run({"a": 1}, ONE_PROCESS, workdir) as context:
        assert context is None
    assert described == [workdir, workdir]
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["runs/teacher: a line", "runs/teacher: already complete"]
    assert licenses.read(workdir) == ()
    with (
        pytest.raises(ValueError, match=r"a\b.*1.*2"),
        started_run({"a": 2}, ONE_PROCESS, workdir),
    ):
        pass


@pytest.mark.parametrize(
    "distributed", ["host", "host,2,0", "host:1,2", "host:1,two,0", "host:1,2,0,0"]
)
def test_another_form_of_distributed_is_refused(distributed):
    with pytest.raises(ValueError, match=f"--distributed.*{distributed!r}"):
        open_devices("jax", distributed)


def test_an_index_beyond_the_processes_is_refused():
    with pytest.raises(ValueError, match=r"--distributed.*'host:1,2,2'"):
        open_devices("jax", "host:1,2,2")


def test_tensorflow_runs_in_one_process():
    with pytest.raises(ValueError, match=r"--distributed.*--backend=jax"):
        open_devices("tensorflow", "auto")


def test_without_jax_its_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install .*\[jax\]"):
        open_devices("jax")


def test_tensorflow_needs_no_jax():
    program = (
        "import sys; sys.modules['jax'] = None; "
        "import teacher.train, student.training.mixture, classifier.training.trainer; "
        "import classifier.export.saved_classifier; "
        "import classifier.training.backend_tensorflow, beam_jobs.labeling.job"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("address", "listens"),
    [("localhost:7", "localhost:7"), ("[::1]:7", "[::1]:7"), ("worker-0:7", None)],
)
def test_processes_of_one_machine_meet_on_loopback(address, listens):
    arguments = devices._distributed_arguments(f"{address},2,0")
    assert arguments["coordinator_bind_address"] == listens
