"""Files that are damaged, or that claim what they do not hold."""

import json
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import safetensors.numpy

from classifier.weights import files


def hdf5(path):
    return files.read_hdf5("SPEC", path.read_bytes())


def test_a_file_that_is_no_hdf5_is_refused(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"^SPEC\b.*HDF5"):
        hdf5(tmp_path / "weights.h5")


def test_a_missing_file_and_a_pipe_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="SPEC: no such file"):
        files.read("SPEC", tmp_path / "missing.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(ValueError, match=r"pipe\.h5.*regular file"):
        files.read("SPEC", tmp_path / "pipe.h5")


def test_an_origin_names_no_folder(tmp_path):
    path = tmp_path / "weights.h5"
    found = files.describe(f"keras_h5:{path}", str(path), b"abc")
    assert found == {
        "spec": "keras_h5:weights.h5",
        "file": "weights.h5",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_an_hdf5_file_that_claims_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x/kernel:0", shape=(10**12,), dtype="f4", chunks=(2**20,))
    with pytest.raises(ValueError, match=r"x/kernel:0.*1000000000000"):
        hdf5(path)


def test_an_hdf5_file_does_not_lead_to_another(tmp_path):
    path = tmp_path / "weights.h5"
    (tmp_path / "secret").write_bytes(bytes(4000))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["y"] = np.zeros(3)
    with h5py.File(path, "w") as file:
        secret = [(str(tmp_path / "secret"), 0, 4000)]
        file.create_dataset("x/kernel:0", (1000,), "f4", external=secret)
    with pytest.raises(ValueError, match=r"x/kernel:0"):
        hdf5(path)
    with h5py.File(path, "w") as file:
        source = h5py.VirtualSource(tmp_path / "other.h5", "y", shape=(3,))
        layout = h5py.VirtualLayout(shape=(3,), dtype="f8")
        layout[:] = source
        file.create_virtual_dataset("z", layout)
    with pytest.raises(ValueError, match=r"\bz\b"):
        hdf5(path)
    for name in ("model_weights", "linked"):
        with h5py.File(path, "w") as file:
            file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
            file["group/here"] = np.zeros(2)
        assert list(hdf5(path).arrays) == ["group/here"]


def test_a_heap_without_end_is_refused(tmp_path, monkeypatch):
    """Of free space of length 0, which the library of HDF5 does not get past."""
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["first", "second"]
        for name in ("first", "second"):
            file.create_group(name).attrs["weight_names"] = ["kernel"]
            file[f"{name}/kernel"] = np.zeros(2)
    assert hdf5(path).layers == [["first/kernel"], ["second/kernel"]]
    content = bytearray(path.read_bytes())
    place = content.find(b"second\0\0", content.find(b"GCOL")) - 16
    content[place : place + 2], content[place + 8 : place + 16] = bytes(2), bytes(8)
    path.write_bytes(content)
    monkeypatch.setattr(files, "_SECONDS", 1.0)
    with pytest.raises(ValueError, match="more than 1 seconds"):
        hdf5(path)


def test_memory_may_be_limited_already(tmp_path):
    """A limit can be lowered only, and the one for a large file may be higher."""
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["x"] = np.arange(3)
    high = 4 * 2**30
    command = f"ulimit -v {high // 1024 // 2}; exec {sys.executable} $0 $1"
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(pathlib.Path.cwd())!r})\n"
        "from classifier.weights import hdf5_process\n"
        f"hdf5_process._MEMORY = {high}\n"
        "hdf5_process.main(sys.argv[1])\n"
    )
    subprocess.run(
        ["sh", "-c", command, str(script), str(tmp_path / "tensors")],
        input=(tmp_path / "weights.h5").read_bytes(),
        check=True,
    )
    found = safetensors.numpy.load_file(tmp_path / "tensors")
    np.testing.assert_array_equal(found["x"], np.arange(3))


def test_an_hdf5_file_of_texts_is_refused(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["x"] = "text"
    with pytest.raises(ValueError, match=r"\bx holds no numbers"):
        hdf5(tmp_path / "weights.h5")


def header(entries, data=b""):
    content = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(content).to_bytes(8, "little") + content + data


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def test_a_safetensors_file_holds_its_tensors():
    tensors = {"a": np.float32([1, 2]), "b": np.array(3)}
    found = files.read_safetensors("SPEC", safetensors.numpy.save(tensors))
    assert sorted(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], tensors["a"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        (2**63).to_bytes(8, "little") + b"{}",
        (2**40).to_bytes(8, "little") + b"{}" * 9,
        header(b"[" * 100_000),
        header(b"not JSON"),
        header(b"\xff\xfe"),
        header([]),
        header({"a": ONE}),
        header({"a": ONE}, bytes(3)),
        header({"a": ONE}, bytes(8)),
        header({"a": {**ONE, "shape": [2**62]}}, bytes(4)),
        header({"a": {**ONE, "shape": [-1]}}, bytes(4)),
        header({"a": {**ONE, "data_offsets": [0, 2**62]}}, bytes(4)),
        header({"a": {**ONE, "data_offsets": [4, 0]}}, bytes(4)),
        header({"a": {**ONE, "dtype": "PICKLE"}}, bytes(4)),
        header({"a": {**ONE, "dtype": "BF16", "shape": [2]}}, bytes(4)),
        header({"a": ONE, "b": ONE}, bytes(4)),
        header(b'{"a":%b,"a":%b}' % ((json.dumps(ONE).encode(),) * 2), bytes(4)),
    ],
    ids=range(19),
)
def test_a_damaged_safetensors_file_is_refused_in_one_line(content):
    with pytest.raises(
        ValueError, match=r"^SPEC: expected a safetensors file"
    ) as error:
        files.read_safetensors("SPEC", content)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
