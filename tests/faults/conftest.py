"""Images and a teacher for the tests of faults to break."""

import dataclasses
import pathlib
import shutil
import tempfile

import pytest
from etils import epath

from classifier.export.facts import CLASSIFIER
from stage import artifact
from tests.faults import endings, handlers, job
from tests.images import random_images, write_folder
from tests.json_files import read_json


@dataclasses.dataclass
class Place:
    """Three images and a teacher to label them.

    Attributes:
        root: Everything is in it.
        teacher: A copy, to be spoiled.
        images: As `--images`.
    """

    root: pathlib.Path
    teacher: pathlib.Path
    images: str

    @property
    def output(self):
        return self.root / "out"

    @property
    def model(self):
        """Settings of a fast model that needs no teacher."""
        return {
            "model_handler": f"{handlers.__name__}:Fixed",
            "class_names_file": str(self.root / "names.txt"),
        }

    def other_teacher(self, **facts):
        """Returns a copy of the teacher with other facts."""
        copy = epath.Path(self.root / "other")
        shutil.copytree(self.teacher, copy)
        before = read_json(copy / CLASSIFIER)
        artifact.write_json(copy / CLASSIFIER, {**before, **facts})
        return copy

    def label(self, *teachers, images=None, output=None, **more):
        """Labels, by default with the teacher."""
        if not teachers and "model_handler" not in more:
            teachers = [self.teacher]
        return job.label(
            images or self.images,
            output or self.output,
            lambda: job.settings(*teachers, **more),
        )

    def refused(self, fault, *teachers, **more):
        """Labels, which must fail as the catalog says and change no file."""
        assert fault.end == endings.REFUSED
        before = snapshot(self.root)
        with pytest.raises(SystemExit) as refusal:
            self.label(*teachers, **more)
        message = str(refusal.value.code)
        assert message.startswith("error: ")
        assert "\n" not in message
        fault.check(message)
        assert snapshot(self.root) == before


def snapshot(root):
    """Returns the content of each file at any depth, None for each folder."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


@pytest.fixture
def place(tmp_path, exported):
    shutil.copytree(exported[0], tmp_path / "teacher")
    write_folder(tmp_path / "in", random_images(3))
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    return Place(tmp_path, tmp_path / "teacher", f"folder:{tmp_path}/in")


@pytest.fixture(autouse=True)
def logs(tmp_path_factory, monkeypatch):
    """Keeps the logs of failed jobs in a directory of pytest."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("logs")))
