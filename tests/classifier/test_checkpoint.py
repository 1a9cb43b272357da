import pickle

import numpy as np
import pytest

from classifier.checkpoint import Checkpoints


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


def test_pickles_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pickle.loads, (b"",))

    np.savez(tmp_path / "step-00000001.npz", evil=np.array([Evil()], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        Checkpoints(tmp_path, keep=1).load_latest()
