"""A stand-in for gcloud on the PATH, with a machine whose story a test tells."""

import json
import os
import pathlib
import sys

import pytest

from tests.commands import call
from tests.infra.tpu import stand_in_gcloud

MACHINE_FLAGS = (
    "--zone=us-central1-a",
    "--accelerator_type=v5litepod-32",
    "--poll_seconds=0",
)
TRAINING = (
    "teacher.train",
    "--preset=resnet_rs_50_160",
    "--labeled=tfds:imagenet2012:train",
    "--evaluation=tfds:imagenet2012:validation",
    "--data_dir=gs://b/tfds",
    f"--workdir={stand_in_gcloud.WORKDIR}",
)
#: What the data set of TRAINING has.
DATA = ("gs://b/tfds/imagenet2012/5.1.0/dataset_info.json",)
SHARDS = "--set=input_shards=32"


class Cloud:
    """What the stand-in has been asked, and what it has."""

    def __init__(self, directory):
        self.path = directory / "scenario.json"
        self.fifo = directory / "fifo"
        os.mkfifo(self.fifo)
        programs = directory / "bin"
        programs.mkdir()
        script = pathlib.Path(stand_in_gcloud.__file__)
        (programs / "gcloud").write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -S {script} {self.path} "$@"\n'
        )
        (programs / "gcloud").chmod(0o755)
        self.search_path = f"{programs}:{os.environ['PATH']}"
        self.tell()

    def tell(
        self,
        *machines,
        now=None,
        objects=(),
        data=DATA,
        zone="us-central1-a",
        location="US-CENTRAL1",
        refusals=0,
        lost=(),
    ):
        """Sets what will happen to each machine; one of them may be there already.

        So many times it will be refused to delete one. The answer to one call each of
        the actions in `lost` is, by its number.
        """
        scenario = {
            "machines": machines,
            "now": now,
            "looks": 0,
            "created": 0 if now is None else now + 1,
            "objects": dict.fromkeys([*objects, *data], ""),
            "zone": zone,
            "location": location,
            "refusals": refusals,
            "lost": dict(lost),
            "calls": [],
            "fifo": str(self.fifo),
        }
        self.path.write_text(json.dumps(scenario))

    def __getattr__(self, name):
        return json.loads(self.path.read_text())[name]

    def did(self, action):
        """Returns the calls of one action on the request."""
        return [
            call for call in self.calls if "queued-resources" in call and action in call
        ]

    def train(self, *flags, training=(*TRAINING, SHARDS)):
        return call("infra.tpu", *MACHINE_FLAGS, *flags, "--", *training)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    made = Cloud(tmp_path)
    monkeypatch.setenv("PATH", made.search_path)
    return made
