from PIL import Image

from examples.photographs import parts, prepare
from stage import artifact
from tests.commands import call


def test_the_folders_hold_color_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "TEST", 2)
    monkeypatch.setattr(prepare, "UNLABELED_PER_CLASS", 3)
    directory = tmp_path / "photographs"
    command = ("examples.photographs.prepare", f"--output={directory}", "--seed=1")
    process = call(*command, "--labels_per_class=1")
    assert process.returncode == 0, process.stderr
    assert artifact.is_complete(directory)
    labeled = list(directory.glob("labeled/*/*.jpg"))
    assert sorted(path.parent.name for path in labeled) == list(parts.CLASS_NAMES)
    assert len(list(directory.glob("test/*/*.jpg"))) == 20
    assert len(list(directory.glob("all/*.jpg"))) == 30
    with Image.open(labeled[0]) as image:
        assert (image.mode, image.size) == ("RGB", (parts.SIZE, parts.SIZE))
