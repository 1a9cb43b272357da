from examples.surfaces import prepare
from stage import artifact
from tests.commands import call


def test_the_folders_are_those_of_the_walk_through(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "TEST", 2)
    monkeypatch.setattr(prepare, "UNLABELED_PER_CLASS", 3)
    directory = tmp_path / "textures"
    command = ("examples.surfaces.prepare", f"--output={directory}", "--seed=1")
    process = call(*command, "--labels_per_class=1")
    assert process.returncode == 0, process.stderr
    assert artifact.is_complete(directory)
    assert len(list(directory.glob("labeled/*/*.jpg"))) == 10
    assert len(list(directory.glob("test/*/*.jpg"))) == 20
    assert len(list(directory.glob("all/*.jpg"))) == 30
    assert "already complete" in call(*command, "--labels_per_class=1").stdout
    assert call(*command).returncode == 1
