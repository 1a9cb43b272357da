import json

import pytest

from stage import artifact


def test_begin_then_complete_then_nothing_left_to_do(tmp_path):
    directory = tmp_path / "new" / "artifact"
    assert artifact.start_or_resume(directory, {"steps": 1}) is False
    assert artifact.start_or_resume(directory, {"steps": 1}) is False
    assert not artifact.is_complete(directory)
    artifact.complete(directory, seconds=1.23)
    assert artifact.start_or_resume(directory, {"steps": 1}) is True
    facts = json.loads((directory / "COMPLETED").read_text())
    assert facts["seconds"] == 1.2
    assert set(facts["versions"]) >= {"python", "tensorflow", "apache-beam"}


def test_a_completed_artifact_looks_up_to_date_to_make(tmp_path):
    artifact.start_or_resume(tmp_path, {})
    artifact.complete(tmp_path, seconds=0)
    completed = tmp_path / "COMPLETED"
    import os

    os.utime(completed, (1, 1))
    artifact.start_or_resume(tmp_path, {})
    assert completed.stat().st_mtime > 1


def test_other_settings_are_refused_and_named(tmp_path):
    artifact.start_or_resume(tmp_path, {"optimizer": {"momentum": 0.9}, "seed": 1})
    with pytest.raises(ValueError, match=r"optimizer.momentum was 0.9, is now 0.5"):
        artifact.start_or_resume(tmp_path, {"optimizer": {"momentum": 0.5}, "seed": 1})
    with pytest.raises(ValueError, match="more was null, is now true"):
        artifact.start_or_resume(
            tmp_path, {"optimizer": {"momentum": 0.9}, "seed": 1, "more": True}
        )


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not empty"):
        artifact.start_or_resume(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_parent_must_be_complete(tmp_path):
    with pytest.raises(FileNotFoundError, match="predictions: no directory"):
        artifact.require_complete(tmp_path / "none", "predictions")
    artifact.start_or_resume(tmp_path, {})
    with pytest.raises(ValueError, match="is not complete"):
        artifact.require_complete(tmp_path, "predictions")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    from etils import epath

    path = epath.Path(tmp_path) / "figures.json"
    artifact.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        artifact.write_json(path, {"a": object()})
    assert artifact.read_json(path) == {"a": 1}
    assert [file.name for file in path.parent.iterdir()] == ["figures.json"]


def test_fingerprints_tell_parts_apart():
    assert artifact.fingerprint([b"ab", b"c"]) != artifact.fingerprint([b"a", b"bc"])
    first = artifact.config_fingerprint({"a": 1, "b": [2]})
    assert first == artifact.config_fingerprint({"b": [2], "a": 1})


def test_a_file_is_whole_or_not_there_and_nothing_is_left(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(KeyError), artifact.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())
    artifact.write_bytes(path, b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_entry_of_a_config_may_be_amended_and_no_other(tmp_path):
    artifact.amend(tmp_path, {"images": 1}, changing="images")
    assert not list(tmp_path.iterdir())
    artifact.start_or_resume(tmp_path, {"images": 1, "seed": 2})
    artifact.complete(tmp_path, seconds=0)
    artifact.amend(tmp_path, {"images": 2, "seed": 3}, changing="images")
    with pytest.raises(ValueError, match="images was 1, is now 2"):
        artifact.start_or_resume(tmp_path, {"images": 2, "seed": 2})
    artifact.amend(tmp_path, {"images": 1, "seed": 2}, changing="images")
    assert artifact.is_complete(tmp_path)
    artifact.amend(tmp_path, {"images": 2, "seed": 2}, changing="images")
    assert artifact.start_or_resume(tmp_path, {"images": 2, "seed": 2}) is False


def test_one_process_works_in_a_directory_at_a_time(tmp_path):
    with (
        artifact.locked(tmp_path),
        pytest.raises(ValueError, match="another process is at work in"),
        artifact.locked(tmp_path),
    ):
        pass
    with artifact.locked(tmp_path):
        pass
    with artifact.locked("gs://bucket/directory"):
        pass
