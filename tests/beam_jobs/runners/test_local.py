import errno
import os
import pathlib
import sys
import threading
import time

import pytest
from apache_beam.runners.worker import data_plane

from beam_jobs.runners import local, supervisor
from beam_jobs.runners.options import parse

PROCESSES = parse(
    ["", "--direct_num_workers=2", "--direct_running_mode=multi_processing"]
)


@pytest.fixture
def deaths(monkeypatch):
    """The deaths reported to the supervisor, which does not end the process here."""
    found = []

    def end_after_death(code, *, has_progress, log, save_log):
        found.append((code, has_progress))

    monkeypatch.setattr(supervisor, "end_after_death", end_after_death)
    return found


def fail_in_thread(name, error):
    def fail():
        raise error

    thread = threading.Thread(target=fail, name=name)
    thread.start()
    thread.join()


def kept_by(remark):
    """Returns the log that a remark names."""
    return pathlib.Path(remark.removeprefix("(more in ").removesuffix(")")).read_text()


def watch(options, counts):
    return local.restart_on_death(
        options,
        count_done=iter(counts).__next__,
        log=lambda line: None,
        save_log=lambda: "",
    )


WORKER_ENDED = RuntimeError("Worker subprocess exited with return code -9")


@pytest.mark.parametrize("done", [3, 4])
def test_the_first_death_of_a_worker_counts(deaths, done):
    with watch(PROCESSES, [3, done]), local.workers_log():
        fail_in_thread("run_worker", WORKER_ENDED)
        fail_in_thread("run_worker", WORKER_ENDED)
    assert deaths == [("-9", done > 3)]


def test_a_death_that_cannot_be_reported_ends_the_process(monkeypatch, capsys):
    ends = []
    monkeypatch.setattr(os, "_exit", ends.append)
    monkeypatch.setattr(local.system, "kill_children", lambda: ends.append("workers"))
    with watch(PROCESSES, [0]):  # The second count fails.
        fail_in_thread("run_worker", WORKER_ENDED)
    assert ends == ["workers", 1]
    assert "StopIteration" in capsys.readouterr().err


@pytest.mark.parametrize("directory", ["there", "not there"])
def test_a_log_that_cannot_be_saved_is_no_error(tmp_path, monkeypatch, directory):
    (tmp_path / "there").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / directory))
    with local.workers_log() as save, monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", fill_up)
        remark = save("more")
    assert "[Errno " in remark
    assert not list((tmp_path / "there").iterdir())


def fill_up(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_errors_of_other_threads_are_for_the_log(deaths, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with local.workers_log() as save, watch(PROCESSES, [0]):
        fail_in_thread("consume", OSError("lost connection"))
        content = kept_by(save("more"))
    assert not deaths
    assert "Traceback" in content
    assert "lost connection" in content
    assert content.endswith("more")


def test_the_hook_is_there_only_for_worker_processes_and_the_block():
    before = threading.excepthook
    with watch(parse(["", "--direct_num_workers=1"]), []):
        assert threading.excepthook is before
    with watch(PROCESSES, [0]):
        assert threading.excepthook is not before
    assert threading.excepthook is before


def test_beam_uses_the_name_of_the_worker_thread():
    """Otherwise the job would hang; tests/faults kills a real worker."""
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    source = pathlib.Path(worker_handlers.__file__).read_text()
    assert f"name='{local._WORKER_THREAD}'" in source


def test_the_log_collects_what_libraries_write(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    stderr = sys.stderr
    with local.workers_log() as save:
        os.write(2, b"from a library\n")
        sys.stderr.write("for the user\n")
        content = kept_by(save())
    assert sys.stderr is stderr
    os.write(2, b"afterwards\n")
    assert content == "from a library\n"
    assert capfd.readouterr().err == "for the user\nafterwards\n"


def test_a_log_that_is_not_saved_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(KeyError), local.workers_log():
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_what_is_written_while_a_stream_is_sent_is_not_lost():
    local.repair_streams()
    local.repair_streams()
    sent, is_sending = [], threading.Event()

    def send(data):
        sent.append(data)
        is_sending.set()
        time.sleep(0.05)

    stream = data_plane.ClosableOutputStream.create(sent.append, send, 1)
    for count in range(20):
        stream.write(bytes([count]))
        assert is_sending.wait(10)
        is_sending.clear()
        # While `send` sleeps.
        stream.write(bytes([count]))
        is_sending.wait(10)
        is_sending.clear()
    stream.close()
    assert b"".join(sent) == bytes(count for count in range(20) for _ in "ab")
