import errno
import time

import pytest

from stage import retry


@pytest.fixture
def waited(monkeypatch):
    """Seconds of each call of `time.sleep`, which does not wait."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def failing(*errors):
    """Returns an action that raises the errors in turn and then returns "done"."""
    left = list(errors)

    def action():
        if left:
            raise left.pop(0)
        return "done"

    return action


@pytest.mark.parametrize("failures", range(len(retry.DELAYS) + 1))
def test_transient_errors_are_waited_for(waited, failures):
    action = failing(*[OSError(errno.EIO, "input/output error")] * failures)
    assert retry.retrying(action) == "done"
    assert waited == list(retry.DELAYS[:failures])


def test_the_last_error_is_raised_after_all_attempts(waited):
    errors = [OSError(errno.EMFILE, str(i)) for i in range(len(retry.DELAYS) + 1)]
    with pytest.raises(OSError, match="3") as raised:
        retry.retrying(failing(*errors))
    assert raised.value is errors[-1]
    assert waited == list(retry.DELAYS)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "missing"),
        IsADirectoryError(errno.EISDIR, "directory"),
        PermissionError(errno.EACCES, "forbidden"),
        OSError(errno.ENAMETOOLONG, "long"),
        ValueError("not an error of files"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_are_raised_at_once(waited, error):
    with pytest.raises(type(error)) as raised:
        retry.retrying(failing(OSError("no number"), error))
    assert raised.value is error
    assert waited == [retry.DELAYS[0]]


def test_errors_without_a_number_are_transient():
    assert retry.is_transient(OSError("answered 503"))
    assert retry.is_transient(TimeoutError())
    assert not retry.is_transient(FileNotFoundError(errno.ENOENT, "missing"))
