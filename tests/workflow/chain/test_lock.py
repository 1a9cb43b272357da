"""The lock of a run, and who holds it."""

import errno
import fcntl

import pytest

from workflow.chain import lock


def test_a_run_has_no_owner_after_a_failure(tmp_path):
    run = str(tmp_path)
    with pytest.raises(KeyError), lock.held(run, print):
        assert lock.find_owner(run) is not None
        raise KeyError
    assert lock.find_owner(run) is None


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_may_have_no_locks(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock.held(str(tmp_path), print):
        assert lock.find_owner(str(tmp_path)) is not None


def test_another_error_of_a_lock_is_one(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="broken"), lock.held(str(tmp_path), print):
        pass
