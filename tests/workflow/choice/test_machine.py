import pytest

from workflow.choice import machine


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Returns a function that puts a program in place of NVIDIA's."""

    def write(program):
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write


@pytest.mark.parametrize(
    ("cores", "name"), [(1, "1 core, no GPU"), (3, "3 cores, no GPU")]
)
def test_cores_are_those_of_the_process(driver, monkeypatch, cores, name):
    driver("exit 9")
    monkeypatch.setattr(machine, "num_cores", lambda: cores)
    found = machine.find_machine(has_tpu=False)
    assert found.name == name
    assert found.speed == pytest.approx(cores * 7.7e9, rel=0.01)
    assert not found.is_fast


def test_a_gpu_is_found_by_its_driver(driver):
    driver("echo 'NVIDIA H200'; echo 'NVIDIA H200'")
    found = machine.find_machine(has_tpu=False)
    assert (found.name, found.is_fast) == ("NVIDIA H200", True)
    assert found.speed == machine.GPU_SPEED


@pytest.mark.parametrize("program", ["exit 9", "echo", "echo broken; exit 1"])
def test_a_driver_without_a_gpu(driver, program):
    driver(program)
    assert machine.find_gpus() == []


def test_no_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.find_gpus() == []


def test_a_tpu_is_told(driver):
    driver("echo 'NVIDIA H200'")
    assert machine.find_machine(has_tpu=True).speed == machine.TPU_SPEED
