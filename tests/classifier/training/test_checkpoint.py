import pickle
import struct

import numpy as np
import pytest

from classifier.training import checkpoint
from classifier.training.checkpoint import Checkpoints


def test_the_newest_comes_back_as_it_was(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    assert checkpoints.load_latest() is None
    arrays = {
        "model/stem/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "model/drop/seed": np.array([1, 2], np.uint32),
        "step": np.int64(7),
    }
    checkpoints.save(7, arrays)
    step, loaded = checkpoints.load_latest()
    assert step == 7
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_only_the_newest_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (100, 20, 3000):
        checkpoints.save(step, {"step": np.int64(step)})
    assert checkpoints.steps() == [100, 3000]


def test_half_written_files_are_not_checkpoints(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(1, {"step": np.int64(1)})
    (tmp_path / ".step-00000002.npz.abc").write_bytes(b"half")
    assert checkpoints.load_latest()[0] == 1


def test_the_best_stays_beside_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (10, 20, 30):
        checkpoints.save(step, {"step": np.int64(step)})
        if step < 30:
            checkpoints.save_best(step, {"step": np.int64(step)})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best-00000020.npz", "step-00000030.npz"]
    assert checkpoint.read(checkpoints.path(20, "best"))["step"] == 20
    assert checkpoints.load_latest()[0] == 30


def test_what_a_killed_run_left_half_written_is_deleted(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(1, {"step": np.int64(1)})
    half = tmp_path / f".step-00000002.npz.{32 * '0'}"
    half.write_bytes(b"half")
    (tmp_path / ".theirs").write_bytes(b"not ours")
    checkpoints.clean(1)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".theirs", "step-00000001.npz"]


def test_pickles_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pickle.loads, (b"",))

    np.savez(tmp_path / "step-00000001.npz", evil=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        checkpoint.read(tmp_path / "step-00000001.npz")


def spoil(path, how):
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "changed":
        middle = content.rindex(b"\x93NUMPY") + 200
        path.write_bytes(
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        )
    elif how == "zeros":
        path.write_bytes(bytes(len(content)))
    else:
        assert how == "claims too much"
        claimed = content.replace(b"(100,)", b"(9**9,)".replace(b"9**9", b"999"))
        path.write_bytes(claimed)


@pytest.mark.parametrize(
    "how", ["empty", "truncated", "changed", "zeros", "claims too much"]
)
def test_the_newest_that_can_be_read_counts(tmp_path, how):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, {"weight": np.full(100, step, np.float32)})
    spoil(checkpoints.path(3), how)
    lines = []
    step, arrays = checkpoints.load_latest(lines.append)
    assert step == 2
    np.testing.assert_array_equal(arrays["weight"], np.full(100, 2))
    assert [str(checkpoints.path(3)) in line for line in lines] == [True]
    checkpoints.clean(step)
    assert checkpoints.steps() == [1, 2]


def test_without_a_readable_one_there_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2):
        checkpoints.path(step).write_bytes(b"")
    lines = []
    assert checkpoints.load_latest(lines.append) is None
    assert len(lines) == 2


def test_a_file_that_lost_a_tensor_is_not_read(tmp_path):
    """As where the list of its members is damaged."""
    path = Checkpoints(tmp_path, keep=1).path(1)
    Checkpoints(tmp_path, keep=1).save(1, {"a": np.ones(3), "b": np.zeros(2)})
    content = path.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    for count in (0, 1):
        members = content[content.index(b"PK\x01\x02") : end].split(b"PK\x01\x02")[1:]
        kept = b"".join(b"PK\x01\x02" + member for member in members[:count])
        start = content.index(b"PK\x01\x02")
        tail = struct.pack("<4H2LH", 0, 0, count, count, len(kept), start, 0)
        path.write_bytes(content[:start] + kept + b"PK\x05\x06" + tail)
        with pytest.raises(ValueError, match="tensor"):
            checkpoint.read(path)


def test_files_of_earlier_versions_are_read(tmp_path):
    np.savez(tmp_path / "step-00000001.npz", a=np.ones(3))
    assert list(checkpoint.read(tmp_path / "step-00000001.npz")) == ["a"]
