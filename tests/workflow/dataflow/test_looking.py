"""What a run is refused for before it begins, and what it is told."""

import re

import pytest

from beam_jobs.io import filesystems
from tests.workflow.dataflow import recorded
from workflow.chain.errors import StageError
from workflow.dataflow import gcloud, looking
from workflow.run_file.reading import read_run


def config(*assignments):
    return read_run(None, [*recorded.SETTINGS, *assignments])


def dataflow(**values):
    return [f"runner.dataflow.{name}={value}" for name, value in values.items()]


def test_the_target_is_that_of_the_labeling_job(monkeypatch):
    monkeypatch.setattr("workflow.chain.runners.image_name", lambda **_: recorded.IMAGE)
    options = dataflow(
        accelerator="nvidia-l4",
        machine="g2-standard-16",
        max_workers=3,
        options=["--disk_size_gb=60"],
    )
    images = f"data.unlabeled={recorded.IMAGES}"
    found = looking.read_target(config(*options, images), builds_in_cloud=False)
    assert found == recorded.job(
        *("--accelerator=nvidia-l4", "--machine_type=g2-standard-16"),
        *("--max_num_workers=3", "--disk_size_gb=60"),
        images=recorded.IMAGES,
        builds_in_cloud=False,
    )


def test_a_container_of_the_users_is_not_looked_for():
    found = looking.read_target(config(*dataflow(image="docker.io/x")))
    assert found.image is None
    assert not found.builds_in_cloud


@pytest.mark.parametrize(
    ("sources", "bucket"),
    [
        (("data.unlabeled=folder:gs://other/x",), "other"),
        (("data.unlabeled=folder:gs://my-bucket/x",), None),
        (("data.unlabeled=tfds:x:train", "data.data_dir=gs://other/tfds"), "other"),
        (("data.unlabeled=tfds:gs://other/x/1.0.0:train",), "other"),
        (("data.digits.labels_per_class=5",), None),
        ((), None),
    ],
)
def test_the_bucket_of_the_images_is_found(sources, bucket):
    assert looking.read_target(config(*sources)).images_bucket == bucket


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (dataflow(machine="g2-standard-8"), "g2-standard-8 has a GPU, and bills it"),
        (
            dataflow(machine="n1-standard-4", accelerator="nvidia-l4"),
            "machine type g2-",
        ),
        (
            dataflow(options=["--machine_type=g2-standard-8"], accelerator="nvidia-l4"),
            "g2-standard-8 has a GPU, and bills it",  # Of the other jobs.
        ),
        (
            dataflow(
                options=["--flexrs_goal=COST_OPTIMIZED"],
                accelerator="nvidia-tesla-t4",
            ),
            "has no GPUs",
        ),
        (dataflow(options=["--num_worker=3"]), "did you mean --num_workers?"),
        (dataflow(options=["--flexrs_goal=CHEAP"]), "invalid choice: 'CHEAP'"),
        (dataflow(max_hours=2000), "expected --max_hours from 0.1 to 744"),
        (['labeling.flags=["--engin=openvino"]'], "'engin'"),
        (['labeling.flags=["--engine=onnx"]'], "onnx"),
        (['labeling.flags=["--dtype=float61"]'], "float61"),
        (['labeling.flags=["word"]'], "'word'"),
        (
            ['labeling.flags=["--label_feature=x", "--noembeddings"]'],
            "needs --embeddings",
        ),
        (['labeling.flags=["--estimate=5"]'], "estimate"),
        (
            ["labeling.engine=openvino", *dataflow(accelerator="nvidia-l4")],
            "expected --engine=tensorflow with nvidia-l4",
        ),
        (
            dataflow(images_per_second=20, machine="c4-standard-8"),
            "to beam_jobs/runners/prices.json",
        ),
    ],
)
def test_options_that_no_job_could_have_are_refused(given, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        looking.read_target(config(*given))


class TestBeforeTraining:
    """What is looked at before anything is chosen or trained."""

    @pytest.fixture
    def player(self, tmp_path, monkeypatch):
        player = recorded.Gcloud(tmp_path)
        monkeypatch.setenv("PATH", player.environment["PATH"])
        monkeypatch.setattr(
            "workflow.chain.runners.image_name", lambda **_: recorded.IMAGE
        )
        return player

    def test_nothing_is_said_if_all_is_there(self, player):
        player.record(recorded.job())
        lines = []
        looking.check_before_training(config(), lines.append)
        assert lines == []
        assert len(player.calls) == 5

    @pytest.mark.parametrize(
        ("name", "words", "line"),
        [
            (
                "image",
                recorded.MISSING["image"],
                f"FAIL container: no {recorded.IMAGE}: type: make container PROJECT=",
            ),
            (
                "image",
                recorded.DENIED,
                f"?    container: cannot see {recorded.IMAGE}: PERMISSION",
            ),
            (
                "application_login",
                "ERROR: (gcloud.x) none",
                "FAIL login for Beam: none",
            ),
        ],
    )
    def test_what_is_missing_is_a_line(self, player, name, words, line):
        player.record(recorded.job(), errors={name: words})
        with pytest.raises(StageError) as error:
            looking.check_before_training(config(), print)
        first, found = str(error.value).split("\n")
        assert "docs/dataflow.md" in first
        assert found.strip().startswith(line)

    @pytest.mark.parametrize("name", ["billing", "machine_types"])
    def test_what_is_not_known_is_no_reason(self, player, name):
        player.record(recorded.job(), **{name: None})
        looking.check_before_training(config(), print)

    def test_options_are_refused_before_gcloud_is_asked(self, player):
        player.record(recorded.job())
        with pytest.raises(ValueError, match="max_hours"):
            looking.check_before_training(config(*dataflow(max_hours=2000)), print)
        assert not player.folder.joinpath("calls").exists()

    def test_without_gcloud_login_and_bucket_are_looked_at(self, monkeypatch):
        monkeypatch.setattr(gcloud, "is_installed", lambda: False)
        lines = []
        monkeypatch.setattr(filesystems, "_match", lambda *_: [])
        looking.check_before_training(config(*dataflow(image="x")), lines.append)
        assert "no gcloud" in lines[0]

        def refuse(*_):
            raise PermissionError(13, "no login for Google Cloud", "gs://my-bucket")

        monkeypatch.setattr(filesystems, "_match", refuse)
        with pytest.raises(OSError, match="no login"):
            looking.check_before_training(config(*dataflow(image="x")), lines.append)
