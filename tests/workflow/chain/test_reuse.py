import pytest

from tests.workflow.chain import fakes
from workflow.chain import execution, lock, reuse


def take_over(path, other, stages):
    """Takes over stages, and makes the others; returns the lines."""
    lines = []
    request, files = fakes.request(path, stages), fakes.files(path)
    with lock.held(str(path), lines.append) as descriptor:
        reuse.take_over(request, str(other), files, lines.append)
        execution.run(request, files, lines.append, keep_open=[descriptor])
    return lines


def test_all_stages_with_equal_inputs_are_taken_over(tmp_path):
    fakes.make(tmp_path / "a", fakes.graph(fakes.DIAMOND))
    before = fakes.contents(tmp_path / "a")
    stages = fakes.graph(fakes.DIAMOND, **{"b/left": 2})
    lines = take_over(tmp_path / "b", tmp_path / "a", stages)
    taken = [f"{name}: taken from {tmp_path}/a" for name in ("a", "b/right")]
    assert lines[:2] == taken
    assert fakes.started(lines) == ["b/left", "c"]
    assert fakes.contents(tmp_path / "a") == before
    fakes.make(tmp_path / "new", stages)
    assert fakes.contents(tmp_path / "b") == fakes.contents(tmp_path / "new")
    for name in ("a/result", "b/right/part-0"):
        paths = (tmp_path / run / name for run in "ab")
        first, second = (path.stat().st_ino for path in paths)
        assert first == second  # A hard link.


def test_a_stage_inside_of_another_is_taken_over_alone(tmp_path):
    parents = {"a": (), "a/inner": ("a",)}
    fakes.make(tmp_path / "a", fakes.graph(parents))
    stages = fakes.graph(parents, **{"a/inner": 2})
    lines = take_over(tmp_path / "b", tmp_path / "a", stages)
    assert fakes.started(lines) == ["a/inner"]


def test_what_is_there_is_not_replaced(tmp_path):
    fakes.make(tmp_path / "a", fakes.graph(fakes.DIAMOND))
    fakes.make(tmp_path / "b", fakes.graph(fakes.DIAMOND))
    inode = (tmp_path / "b" / "a" / "result").stat().st_ino
    assert take_over(tmp_path / "b", tmp_path / "a", fakes.graph(fakes.DIAMOND)) == []
    assert (tmp_path / "b" / "a" / "result").stat().st_ino == inode


def test_files_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError

    fakes.make(tmp_path / "a", fakes.graph(fakes.DIAMOND))
    monkeypatch.setattr("os.link", fail)
    lines = take_over(tmp_path / "b", tmp_path / "a", fakes.graph(fakes.DIAMOND))
    assert fakes.started(lines) == []
    assert fakes.contents(tmp_path / "a") == fakes.contents(tmp_path / "b")


def test_nothing_is_half_taken(tmp_path, monkeypatch):
    """A command that is killed while it links leaves no directory under its name."""
    fakes.make(tmp_path / "a", fakes.graph(fakes.DIAMOND))
    real, calls = reuse._link_file, []

    def die(source, target):
        calls.append(source)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(reuse, "_link_file", die)
        with pytest.raises(KeyboardInterrupt):
            take_over(tmp_path / "b", tmp_path / "a", fakes.graph(fakes.DIAMOND))
    assert fakes.contents(tmp_path / "b") == {}
    lines = take_over(tmp_path / "b", tmp_path / "a", fakes.graph(fakes.DIAMOND))
    assert fakes.started(lines) == []
    assert fakes.contents(tmp_path / "a") == fakes.contents(tmp_path / "b")


def test_only_another_run_can_be_taken_over(tmp_path):
    (tmp_path / "a" / "stages").mkdir(parents=True)
    with pytest.raises(ValueError, match="expected the directory of a run"):
        reuse.check(str(tmp_path / "b"), str(tmp_path))
    with pytest.raises(ValueError, match="expected another run than the output"):
        reuse.check(str(tmp_path / "a"), str(tmp_path / "a" / ".." / "a"))
