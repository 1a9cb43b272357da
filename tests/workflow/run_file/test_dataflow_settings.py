"""Settings of a run on Dataflow that no job could have."""

import pytest

from tests.workflow.dataflow import recorded
from workflow.run_file.checks import check_run
from workflow.run_file.reading import read_run

GIVEN = (
    *(text for text in recorded.SETTINGS if not text.startswith("output=")),
    *(
        "output=runs/birds",
        "data.labeled=folder:labeled",
        "data.evaluation=folder:test",
    ),
    *("data.unlabeled=tfrecord:gs://my-images/*.tfrecord", "teacher.preset=tiny"),
)


def check(*assignments, goal="labels", output=""):
    config = read_run(None, [*GIVEN, *assignments], output=output)
    check_run(config, goal=goal, number=1, find_files=lambda _: None)


def test_a_run_on_dataflow_is_accepted():
    check()


@pytest.mark.parametrize(
    "name", ["abc", "a_b", "1234", "images.example.com", f"{'a' * 60}.{'b' * 60}"]
)
def test_buckets_may_have_the_names_that_google_allows(name):
    check(f'runner.dataflow.bucket="{name}"')
    check(f'runner.dataflow.bucket="gs://{name}"')


@pytest.mark.parametrize(
    "name",
    [
        *("My_Bucket", "ab", "-ab", "my-bucket-", "192.168.5.4", "goog-images"),
        *("my-google", "a" * 64, "gs://my-bucket/", "my bucket"),
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="bucket must be the name of a bucket"):
        check(f'runner.dataflow.bucket="{name}"')


@pytest.mark.parametrize("name", ["project", "region", "bucket"])
def test_a_missing_setting_is_named(name):
    with pytest.raises(ValueError, match=rf"such as --set=runner\.dataflow\.{name}="):
        check(f'runner.dataflow.{name}=""')


@pytest.mark.parametrize(
    "setting",
    [
        *("max_workers=0", "max_workers=x", "max_hours=0", "max_hours=-1"),
        *("images_per_second=-1", "accelerator=nvidia-foo", "accelerator=cpu"),
    ],
)
def test_values_that_no_job_could_have_are_refused(setting):
    with pytest.raises(ValueError, match=setting.partition("=")[0]):
        check(f"runner.dataflow.{setting}")


@pytest.mark.parametrize("output", ["/runs/x", "../x", ".", "gs://my-bucket/runs"])
def test_a_run_is_mirrored_by_its_path_below_the_working_directory(output):
    with pytest.raises(ValueError, match="expected output as a "):
        check(output=output)


@pytest.mark.parametrize("output", ["runs/x/", "./x", "runs//x", "runs/../x", "a b/x"])
def test_a_path_may_be_written_in_any_way(output):
    check(output=output)


def test_images_of_this_machine_are_refused():
    with pytest.raises(ValueError, match="in a bucket"):
        check("data.unlabeled=tfrecord:here/*")
    with pytest.raises(ValueError, match="in a bucket"):
        check("data.unlabeled=tfds:x:train", "data.data_dir=here")
    check("data.unlabeled=tfds:x:train", "data.data_dir=gs://b/tfds")


def test_a_teacher_needs_no_images_in_a_bucket():
    check("data.unlabeled=tfrecord:here/*", goal="teacher")
