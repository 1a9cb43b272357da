import pytest

from tests.workflow.dataflow import recorded
from workflow.dataflow.container import container, image
from workflow.dataflow.findings import Answer


def test_a_container_that_is_not_there_is_built_by_the_command():
    missing = {"image": Answer(reason="Image not found. A valid container image...")}
    for options, more in (
        ((), ""),
        (("--accelerator=nvidia-l4",), " ACCELERATOR=nvidia-l4"),
    ):
        wrong = image(recorded.job(*options), recorded.answers(missing))
        assert wrong.state == "FAIL"
        assert wrong.remedy == (
            "make container PROJECT=my-project REGION=us-central1 BUCKET=my-bucket"
            + more
        )


@pytest.mark.parametrize(
    "reason",
    [
        recorded.DENIED,
        "Project 'my-project' not found or permission denied",
        "gcloud did not answer within 60 seconds",
    ],
)
def test_a_container_that_cannot_be_seen_is_not_said_to_be_missing(reason):
    wrong = image(recorded.job(), recorded.answers({"image": Answer(reason=reason)}))
    assert wrong.state == "?"
    assert wrong.detail == f"cannot see {recorded.IMAGE}: {reason}"
    assert wrong.remedy.startswith(f"runner.dataflow.image={recorded.IMAGE} ")


def test_a_repository_that_is_not_there_is_made():
    missing = Answer(reason="NOT_FOUND: Requested entity was not found.")
    found = container(recorded.job(), recorded.answers({"repository": missing}))
    (wrong,) = [each for each in found if each.state != "ok"]
    assert wrong.remedy == (
        "gcloud artifacts repositories create noisy-student-rs "
        "--repository-format=docker --location=us-central1 --project=my-project"
    )


def test_a_container_of_another_registry_is_not_looked_for():
    (one,) = container(recorded.job(owns_image=False), recorded.answers())
    assert one.state == "?"
